package artifact

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/credence-ml/credence/models/internal/atomicfile"
	"github.com/credence-ml/credence/models/internal/bundle"
	"github.com/credence-ml/credence/models/internal/strictjson"
)

// Write validates the model and publishes it at path as a whole: whoever reads the path, whenever this process is killed,
// finds the model that was there or the new one. A model is replaced; a directory that is none is not. The time of making
// is written to the second.
func (a *Artifact) Write(path string) error {
	if err := a.Validate(); err != nil {
		return err
	}
	if err := replaceable(path); err != nil {
		return err
	}
	return atomicfile.WriteDir(path, a.fill)
}

func replaceable(path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	dir, err := bundle.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	manifest, err := dir.Object(manifestFile, maxManifest)
	if err == nil && (manifest.Get("modelID") == nil || manifest.Get("support") == nil) {
		err = fmt.Errorf("its manifest is not a model's")
	}
	if err != nil {
		return fmt.Errorf("%s exists and is no model, so it is not replaced: %w", path, err)
	}
	return nil
}

// fill writes all files into an empty directory.
func (a *Artifact) fill(dir string) error {
	checksums := strictjson.NewObjectWriter()
	put := func(name string, fill func(w *bufio.Writer) error) error {
		path := filepath.Join(dir, name)
		if err := writeFile(path, fill); err != nil {
			return err
		}
		sum, err := bundle.SumFile(path)
		checksums.Add(name, sum)
		return err
	}
	weights := a.weights()
	err := errors.Join(
		put(weightsFile, func(w *bufio.Writer) error { return floats(w, *weights[0], *weights[1], *weights[2], *weights[3]) }),
		put(vectorsFile, func(w *bufio.Writer) error { return floats(w, a.Support) }),
		put(recordsFile, func(w *bufio.Writer) error {
			return lines(w, len(a.Records), func(i int) *strictjson.ObjectWriter { return a.Records[i].object() })
		}))
	if a.Calibration != nil {
		err = errors.Join(err, put(calibrationFile, func(w *bufio.Writer) error {
			return lines(w, len(a.Calibration), func(i int) *strictjson.ObjectWriter { return a.Calibration[i].object() })
		}))
	}
	if err != nil {
		return err
	}
	text, err := a.manifest(checksums).Document()
	if err != nil {
		return err
	}
	if len(text) > maxManifest {
		return fmt.Errorf("the manifest has %d bytes, at most %d are allowed", len(text), maxManifest)
	}
	return os.WriteFile(filepath.Join(dir, manifestFile), text, 0o666)
}

func writeFile(path string, fill func(w *bufio.Writer) error) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<18)
	if err := fill(w); err != nil {
		return err
	}
	return w.Flush()
}

func floats(w io.Writer, parts ...[]float32) error {
	const atOnce = 1 << 16 // binary.Write makes a copy
	for _, values := range parts {
		for len(values) > 0 {
			n := min(atOnce, len(values))
			if err := binary.Write(w, binary.LittleEndian, values[:n]); err != nil {
				return err
			}
			values = values[n:]
		}
	}
	return nil
}

func lines(w *bufio.Writer, n int, object func(i int) *strictjson.ObjectWriter) error {
	for i := range n {
		line, err := object(i).Bytes()
		if err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}

func (r *Record) object() *strictjson.ObjectWriter {
	w := strictjson.NewObjectWriter()
	w.Add("id", r.ID)
	w.Add("label", r.Label)
	w.Add("predictedLabel", r.Predicted)
	if r.Document != nil {
		w.Add("document", r.Document)
	}
	if r.Metadata != nil {
		w.Raw("metadata", r.Metadata)
	}
	return w
}

func (r *Calibrated) object() *strictjson.ObjectWriter {
	w := strictjson.NewObjectWriter()
	w.Add("id", r.ID)
	w.Add("label", r.Label)
	w.Add("prediction", r.Prediction)
	w.Add("sdm", r.SDM)
	w.Add("qPrime", r.QPrime)
	if r.Q != nil {
		w.Add("q", r.Q)
	}
	if r.D0 != nil {
		w.Add("d0", r.D0)
	}
	if r.D != nil {
		w.Add("d", r.D)
	}
	if r.ZPrime != nil {
		w.Add("zPrime", r.ZPrime)
	}
	return w
}

func (a *Artifact) manifest(checksums *strictjson.ObjectWriter) *strictjson.ObjectWriter {
	c, w := &a.Config, strictjson.NewObjectWriter()
	w.Add("schemaVersion", 1)
	w.Add("modelID", a.ID)
	w.Add("createdAt", a.Created.UTC().Format(time.RFC3339))
	w.Add("producer", a.Producer)
	w.Object("configuration", objectOf("numberOfClasses", c.Classes(), "classNames", c.ClassNames,
		"embeddingDimension", c.EmbeddingDimension, "exemplarDimension", c.ExemplarDimension, "maxNeighbors", c.MaxNeighbors,
		"qOffset", c.QOffset, "oodLimit", c.OODLimit, "alphaResolution", c.AlphaResolution,
		"distanceMetric", "squaredL2", "neighborTieBreak", "supportIndexAscending"))
	w.Add("normalization", a.Normalization)
	w.Add("representation", a.Representation)
	sizes := c.weightSizes()
	w.Object("weights", objectOf("file", weightsFile, "elementCount", sizes[0]+sizes[1]+sizes[2]+sizes[3]))
	w.Object("support", objectOf("vectorsFile", vectorsFile, "recordsFile", recordsFile, "count", len(a.Records)))
	w.Add("distanceCDFs", present(a.DistanceCDFs))
	w.Add("rescaledSimilarityCDFs", present(a.SimilarityCDFs))
	w.Add("regions", append([]Region{}, a.Regions...)) // none are [], not null
	w.Object("checksums", checksums)
	if a.Metadata != nil {
		metadata := strictjson.NewObjectWriter()
		metadata.Keep(a.Metadata)
		w.Object("metadata", metadata)
	}
	return w
}

// objectOf is an object of keys and values in turn.
func objectOf(pairs ...any) *strictjson.ObjectWriter {
	w := strictjson.NewObjectWriter()
	for i := 0; i < len(pairs); i += 2 {
		w.Add(pairs[i].(string), pairs[i+1])
	}
	return w
}

// present writes an empty class as [], not as null.
func present(cdfs [][]float32) [][]float32 {
	all := make([][]float32, len(cdfs))
	for c, values := range cdfs {
		all[c] = append([]float32{}, values...)
	}
	return all
}
