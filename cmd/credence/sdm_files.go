package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/sdm/artifact"
	"github.com/credence-ml/credence/models/sdm/dataset"
)

// isNPY reports whether a path names an NPY file, by its ending.
func isNPY(path string) bool { return strings.EqualFold(filepath.Ext(path), ".npy") }

// isSDMModel reports whether a path is a model: a directory with weights.
func isSDMModel(path string) bool {
	if strings.EqualFold(filepath.Ext(filepath.Clean(path)), ".sdmkitmodel") {
		return true
	}
	_, err := os.Lstat(filepath.Join(path, "weights.f32"))
	return err == nil
}

func newSDMConvert() *cobra.Command {
	var in, out, labels, outLabels, composition, fingerprint, classNames string
	c := &cobra.Command{
		Use:   "convert --in X --out Y",
		Short: "Turn data from one form into another: bundle, JSON Lines, NPY matrix and labels",
		Long: "convert goes by the endings of the names: .sdmdataset, .jsonl or .ndjson, .npy. Rows stream, so that data need not\n" +
			"fit into memory, except from and to NPY. Everything is proved on the way.",
		Example: "  credence sdm convert --in x.npy --labels y.npy --out data.sdmdataset --class-names cat,dog\n" +
			"  credence sdm convert --in data.sdmdataset --out data.jsonl\n" +
			"  credence sdm convert --in data.jsonl --out x.npy --out-labels y.npy --composition embedding",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := needed([2]string{"in", in}, [2]string{"out", out}); err != nil {
				return err
			}
			if labels != "" && !isNPY(in) || outLabels != "" && !isNPY(out) {
				return errors.New("--labels goes with an .npy file as --in, --out-labels with one as --out")
			}
			header := &dataset.Header{}
			if classNames != "" {
				header.ClassNames = strings.Split(classNames, ",")
			}
			if fingerprint != "" {
				header.Representation = &dataset.Representation{Fingerprint: fingerprint}
			}
			n, err := convert(in, out, labels, outLabels, dataset.Composition(composition), header)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%d rows are in %s\n", n, out)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&in, "in", "", "what to read")
	f.StringVar(&out, "out", "", "where it goes, published as a whole")
	f.StringVar(&labels, "labels", "", "labels of an .npy matrix, an .npy vector of integers; without it the rows are unlabelled")
	f.StringVar(&outLabels, "out-labels", "", "where the labels go beside an .npy matrix")
	f.StringVar(&composition, "composition", string(dataset.Auto), "for --out x.npy: embedding, attributes, embedding+attributes, or auto, which is what there is")
	f.StringVar(&fingerprint, "fingerprint", "", "name of the encoder that made the features, where the data do not state it")
	f.StringVar(&classNames, "class-names", "", "comma list, where the data do not state it")
	return c
}

// convert copies rows and returns their number. What the header states must agree with what the data state.
func convert(in, out, labels, outLabels string, composition dataset.Composition, header *dataset.Header) (n int, err error) {
	if same, err := samePath(in, out); err != nil {
		return 0, err
	} else if same {
		return 0, fmt.Errorf("--in and --out are both %s", in)
	}
	if isNPY(in) {
		d, err := dataset.FromNPY(in, labels)
		if err != nil {
			return 0, err
		}
		if err := complete(&d.Header, header, in); err != nil {
			return 0, err
		}
		if isNPY(out) {
			return d.Len(), d.WriteNPY(out, outLabels, composition)
		}
		return d.Len(), d.Write(out)
	}
	if isNPY(out) {
		d, err := dataset.Read(in)
		if err != nil {
			return 0, err
		}
		return d.Len(), d.WriteNPY(out, outLabels, composition)
	}
	r, err := dataset.Open(in)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	h := r.Header()
	if err := complete(h, header, in); err != nil {
		return 0, err
	}
	err = dataset.Write(out, h, func(yield func(*dataset.Row, error) bool) {
		for row, err := range r.All() {
			n++
			if !yield(row, err) {
				return
			}
		}
	})
	return n, err
}

// complete adds to h what only more states.
func complete(h, more *dataset.Header, path string) error {
	if more.ClassNames != nil {
		if h.ClassNames != nil && strings.Join(h.ClassNames, ",") != strings.Join(more.ClassNames, ",") {
			return fmt.Errorf("--class-names differ from those of %s, %q", path, h.ClassNames)
		}
		h.ClassNames = more.ClassNames
	}
	if f := more.Fingerprint(); f != "" {
		if h.Fingerprint() != "" && h.Fingerprint() != f {
			return fmt.Errorf("--fingerprint differs from that of %s, %q", path, h.Fingerprint())
		}
		if h.Representation == nil {
			h.Representation = more.Representation
		}
	}
	return nil
}

// samePath reports whether two paths are one file; the second may not be there yet.
func samePath(a, b string) (bool, error) {
	x, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y), nil
}

// dataSummary is what inspect tells of data.
type dataSummary struct {
	Kind        string         `json:"kind"` // "data"
	Rows        int            `json:"rows"`
	Labels      map[string]int `json:"labels"`
	Embedding   featureSummary `json:"embedding"`
	Attributes  featureSummary `json:"attributes"`
	Documents   int            `json:"documents"`
	ClassNames  []string       `json:"classNames"`
	Fingerprint *string        `json:"representationFingerprint"`
}

type featureSummary struct {
	Dimension int `json:"dimension"`
	Rows      int `json:"rows"`
}

func summarizeData(path string) (*dataSummary, error) {
	r, err := dataset.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	s := &dataSummary{Kind: "data", Labels: map[string]int{}}
	for row, err := range r.All() {
		if err != nil {
			return nil, err
		}
		s.Rows++
		s.Labels[strconv.Itoa(int(row.Label))]++
		if row.Document != nil {
			s.Documents++
		}
		for f, values := range map[*featureSummary][]float32{&s.Embedding: row.Embedding, &s.Attributes: row.Attributes} {
			if values != nil {
				f.Dimension = len(values)
				f.Rows++
			}
		}
	}
	h := r.Header()
	s.ClassNames = h.ClassNames
	if f := h.Fingerprint(); f != "" {
		s.Fingerprint = &f
	}
	return s, nil
}

// modelSummary is what inspect tells of a model.
type modelSummary struct {
	Kind           string                  `json:"kind"` // "model"
	ModelID        string                  `json:"modelID"`
	CreatedAt      string                  `json:"createdAt"`
	Producer       artifact.Producer       `json:"producer"`
	Config         artifact.Config         `json:"configuration"`
	Representation artifact.Representation `json:"representation"`
	Support        int                     `json:"support"`
	SupportLabels  map[string]int          `json:"supportLabels"`
	Calibration    int                     `json:"calibrationRows"`
	Stale          bool                    `json:"calibrationStale"`
	Regions        []artifact.Region       `json:"regions"`
	Metadata       []string                `json:"metadata"` // its keys
}

func summarizeModel(path string) (*modelSummary, error) {
	a, err := artifact.Read(path)
	if err != nil {
		return nil, err
	}
	s := &modelSummary{Kind: "model", ModelID: a.ID, CreatedAt: a.Created.Format("2006-01-02T15:04:05Z07:00"), Producer: a.Producer, Config: a.Config,
		Representation: a.Representation, Support: len(a.Records), SupportLabels: map[string]int{}, Calibration: len(a.Calibration), Regions: a.Regions}
	for i := range a.Records {
		s.SupportLabels[strconv.Itoa(int(a.Records[i].Label))]++
	}
	for _, f := range a.Metadata {
		s.Metadata = append(s.Metadata, f.Key)
	}
	_, err = a.Meta("calibrationStale", &s.Stale)
	return s, err
}

func newSDMInspect() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect PATH",
		Short: "Show what a model or data hold, as JSON, after proving all of it",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var s any
			var err error
			if isSDMModel(args[0]) {
				s, err = summarizeModel(args[0])
			} else {
				s, err = summarizeData(args[0])
			}
			if err != nil {
				return err
			}
			return writeJSON(c.OutOrStdout(), s)
		},
	}
}

func newSDMValidate() *cobra.Command {
	return &cobra.Command{
		Use:   "validate PATH...",
		Short: "Prove models and data: every rule of their forms, and checksums",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, path := range args {
				line, err := validated(path)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", path, line)
			}
			return nil
		},
	}
}

// validated is one line on what has been proved.
func validated(path string) (string, error) {
	if isSDMModel(path) {
		s, err := summarizeModel(path)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("a valid model of %d classes with %d support rows and %d regions", s.Config.Classes(), s.Support, len(s.Regions)), nil
	}
	s, err := summarizeData(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("valid data, %d rows", s.Rows), nil
}
