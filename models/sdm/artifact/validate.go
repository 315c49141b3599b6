package artifact

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/credence-ml/credence/models/internal/strictjson"
)

// Validate holds the model to the rules of the form.
func (a *Artifact) Validate() error {
	if err := a.validateHead(len(a.Records)); err != nil {
		return err
	}
	sizes := a.Config.weightSizes()
	for i, w := range a.weights() {
		name := [4]string{"projection weight", "projection bias", "classifier weight", "classifier bias"}[i]
		if len(*w) != sizes[i] {
			return fmt.Errorf("%s has %d values; %d features, %d exemplar dimensions and %d classes ask for %d", name, len(*w),
				a.Config.EmbeddingDimension, a.Config.ExemplarDimension, a.Config.Classes(), sizes[i])
		}
		if err := finite(name, *w); err != nil {
			return err
		}
	}
	if n := len(a.Records); len(a.Support) != n*a.Config.ExemplarDimension {
		return fmt.Errorf("support has %d values; %d records of %d exemplar dimensions ask for %d", len(a.Support), n,
			a.Config.ExemplarDimension, n*a.Config.ExemplarDimension)
	}
	if err := finite("support", a.Support); err != nil {
		return err
	}
	if err := a.validateRecords(); err != nil {
		return err
	}
	if err := a.validateCalibration(); err != nil {
		return err
	}
	return a.validateMetadata()
}

// validateHead is what can be said without weights and rows, for a support of that many rows.
func (a *Artifact) validateHead(rows int) error {
	c := &a.Config
	switch {
	case !filled(a.ID):
		return fmt.Errorf("modelID is empty or not UTF-8")
	case a.Created.IsZero() || a.Created.Year() < 1 || a.Created.Year() > 9999:
		return fmt.Errorf("createdAt is missing")
	case !filled(a.Producer.Name, a.Producer.Version):
		return fmt.Errorf("producer needs a name and a version, not %q and %q", a.Producer.Name, a.Producer.Version)
	case !filled(a.Representation.Provider, a.Representation.Fingerprint):
		return fmt.Errorf("representation needs a provider and a fingerprint, not %q and %q", a.Representation.Provider, a.Representation.Fingerprint)
	case c.Classes() < 2:
		return fmt.Errorf("%d classes; want at least 2", c.Classes())
	case c.EmbeddingDimension < 1 || c.ExemplarDimension < 1 || c.MaxNeighbors < 1:
		return fmt.Errorf("embeddingDimension %d, exemplarDimension %d and maxNeighbors %d must be positive", c.EmbeddingDimension, c.ExemplarDimension, c.MaxNeighbors)
	case !(c.QOffset > 1) || isInf(c.QOffset):
		return fmt.Errorf("qOffset %v must be above 1", c.QOffset)
	case c.OODLimit < 0:
		return fmt.Errorf("oodLimit %d is negative", c.OODLimit)
	case !(c.AlphaResolution >= 0.00005 && c.AlphaResolution < 0.5):
		return fmt.Errorf("alphaResolution %v: want at least 0.00005 and less than 0.5", c.AlphaResolution)
	case isNaN(a.Normalization.Mean) || isInf(a.Normalization.Mean):
		return fmt.Errorf("normalization: mean %v", a.Normalization.Mean)
	case !(a.Normalization.StandardDeviation > 0) || isInf(a.Normalization.StandardDeviation):
		return fmt.Errorf("normalization: standardDeviation %v must be positive", a.Normalization.StandardDeviation)
	case rows < 1:
		return fmt.Errorf("no support rows")
	case !fits(c.ExemplarDimension, c.EmbeddingDimension+1) || !fits(c.Classes(), c.ExemplarDimension+1) || !fits(rows, c.ExemplarDimension):
		return fmt.Errorf("%d features, %d exemplar dimensions and %d support rows: more than %d elements", c.EmbeddingDimension, c.ExemplarDimension, rows, maxElements)
	}
	names := newNames()
	for _, name := range c.ClassNames {
		if err := names.add("class name", name); err != nil {
			return err
		}
	}
	if err := validateCDFs("distanceCDFs", a.DistanceCDFs, c.Classes(), math.MaxFloat32); err != nil {
		return err
	}
	if err := validateCDFs("rescaledSimilarityCDFs", a.SimilarityCDFs, c.Classes(), a.neighbours(rows)); err != nil {
		return err
	}
	return a.validateRegions(a.neighbours(rows))
}

// neighbours is the largest count of neighbours that there can be.
func (a *Artifact) neighbours(rows int) float32 { return float32(min(a.Config.MaxNeighbors, rows)) }

// fits reports whether a matrix has no more than maxElements, without an overflow.
func fits(rows, columns int) bool { return columns > 0 && rows <= maxElements/columns }

func filled(texts ...string) bool {
	for _, t := range texts {
		if t == "" || !utf8.ValidString(t) {
			return false
		}
	}
	return true
}

func isNaN(v float32) bool { return v != v }
func isInf(v float32) bool { return math.IsInf(float64(v), 0) }

func finite(what string, values []float32) error {
	for i, v := range values {
		if isNaN(v) || isInf(v) {
			return fmt.Errorf("%s: value %d is %v", what, i, v)
		}
	}
	return nil
}

// names finds those that appear twice. Other programs compare them up to canonical equivalence of Unicode, so é in one
// character and in two are the same name.
type names map[string]struct{}

func newNames() names { return names{} }

func (n names) add(what, name string) error {
	if !filled(name) {
		return fmt.Errorf("a %s is empty or not UTF-8", what)
	}
	key := norm.NFC.String(name)
	if _, again := n[key]; again {
		return fmt.Errorf("%s %q appears twice", what, name)
	}
	n[key] = struct{}{}
	return nil
}

func validateCDFs(what string, cdfs [][]float32, classes int, largest float32) error {
	if len(cdfs) != classes {
		return fmt.Errorf("%s of %d classes; there are %d", what, len(cdfs), classes)
	}
	for c, values := range cdfs {
		if err := finite(fmt.Sprintf("%s of class %d", what, c), values); err != nil {
			return err
		}
		if !slices.IsSorted(values) {
			return fmt.Errorf("%s of class %d do not ascend", what, c)
		}
		if n := len(values); n > 0 && (values[0] < 0 || values[n-1] > largest) {
			return fmt.Errorf("%s of class %d run from %v to %v; want 0 to %v", what, c, values[0], values[n-1], largest)
		}
	}
	return nil
}

func (a *Artifact) validateRegions(most float32) error {
	for i, r := range a.Regions {
		switch {
		case !(r.Alpha > 0.5 && r.Alpha < 1) || !onLadder(r.Alpha, a.Config.AlphaResolution):
			return fmt.Errorf("region %d: alpha %v is not 1 - k x %v above 0.5", i, r.Alpha, a.Config.AlphaResolution)
		case i > 0 && r.Alpha >= a.Regions[i-1].Alpha:
			return fmt.Errorf("region %d: alpha %v after %v; want them descending", i, r.Alpha, a.Regions[i-1].Alpha)
		case !(r.MinimumSimilarity >= 0 && r.MinimumSimilarity <= most):
			return fmt.Errorf("region %d: minimumRescaledSimilarity %v; want 0 to %v", i, r.MinimumSimilarity, most)
		case len(r.Thresholds) != a.Config.Classes():
			return fmt.Errorf("region %d: %d output thresholds for %d classes", i, len(r.Thresholds), a.Config.Classes())
		}
		for c, t := range r.Thresholds {
			if !(t >= float32(r.Alpha) && t <= 1) {
				return fmt.Errorf("region %d: output threshold %v of class %d; want %v to 1", i, t, c, r.Alpha)
			}
		}
	}
	return nil
}

// onLadder reports whether alpha is 1 - k resolution for some k = 1, 2, ..., to ten decimals.
func onLadder(alpha, resolution float64) bool {
	k := math.Round((1 - alpha) / resolution)
	return k >= 1 && math.Abs(alpha-math.Round((1-k*resolution)*1e10)/1e10) <= 1e-9
}

func (a *Artifact) validateRecords() error {
	names := newNames()
	for i := range a.Records {
		r := &a.Records[i]
		if err := names.add("support id", r.ID); err != nil {
			return fmt.Errorf("support row %d: %w", i, err)
		}
		switch {
		case r.Label != OutOfDistribution && !a.isClass(r.Label):
			return fmt.Errorf("support row %d: label %d is neither one of %d classes nor %d", i, r.Label, a.Config.Classes(), OutOfDistribution)
		case !a.isClass(r.Predicted):
			return fmt.Errorf("support row %d: predictedLabel %d is none of %d classes", i, r.Predicted, a.Config.Classes())
		case r.Document != nil && !utf8.ValidString(*r.Document):
			return fmt.Errorf("support row %d: its document is not UTF-8", i)
		}
		if r.Metadata != nil {
			if _, err := strictjson.Parse(r.Metadata); err != nil {
				return fmt.Errorf("support row %d: metadata: %w", i, err)
			}
		}
	}
	return nil
}

func (a *Artifact) isClass(label int32) bool { return label >= 0 && int(label) < a.Config.Classes() }

func (a *Artifact) validateCalibration() error {
	names := newNames()
	for i := range a.Calibration {
		r := &a.Calibration[i]
		err := names.add("calibration id", r.ID)
		if err == nil {
			err = a.validateCalibrated(r)
		}
		if err != nil {
			return fmt.Errorf("calibration row %d: %w", i, err)
		}
	}
	return nil
}

func (a *Artifact) validateCalibrated(r *Calibrated) error {
	most := a.neighbours(len(a.Records))
	switch {
	case !a.isClass(r.Label) || !a.isClass(r.Prediction):
		return fmt.Errorf("label %d and prediction %d: want two of %d classes", r.Label, r.Prediction, a.Config.Classes())
	case len(r.SDM) != a.Config.Classes():
		return fmt.Errorf("sdm has %d values for %d classes", len(r.SDM), a.Config.Classes())
	case !(r.QPrime >= 0 && r.QPrime <= most):
		return fmt.Errorf("qPrime %v; want 0 to %v", r.QPrime, most)
	case r.Q != nil && (*r.Q < 0 || float32(*r.Q) > most):
		return fmt.Errorf("q %d; want 0 to %v", *r.Q, most)
	case r.Q != nil && r.QPrime > float32(*r.Q):
		return fmt.Errorf("qPrime %v exceeds q %d", r.QPrime, *r.Q)
	case r.D0 != nil && !(*r.D0 >= 0 && !isInf(*r.D0)):
		return fmt.Errorf("d0 %v; want a finite number that is not negative", *r.D0)
	case r.D != nil && !(*r.D >= 0 && *r.D <= 1):
		return fmt.Errorf("d %v; want 0 to 1", *r.D)
	}
	sum := float32(0)
	for _, p := range r.SDM {
		if !(p >= 0 && p <= 1) {
			return fmt.Errorf("sdm %v: want probabilities", r.SDM)
		}
		sum += p
	}
	if math.Abs(float64(sum-1)) > 1e-5 {
		return fmt.Errorf("sdm %v: the sum is %v, not 1", r.SDM, sum)
	}
	if r.ZPrime == nil {
		return nil
	}
	if len(r.ZPrime) != a.Config.Classes() {
		return fmt.Errorf("zPrime has %d values for %d classes", len(r.ZPrime), a.Config.Classes())
	}
	if err := finite("zPrime", r.ZPrime); err != nil {
		return err
	}
	best := 0
	for c, z := range r.ZPrime {
		if z > r.ZPrime[best] {
			best = c
		}
	}
	if int32(best) != r.Prediction {
		return fmt.Errorf("prediction %d, but the largest of zPrime %v is %d", r.Prediction, r.ZPrime, best)
	}
	return nil
}

// validateMetadata proves what has a meaning for other programs.
func (a *Artifact) validateMetadata() error {
	if text := a.Metadata.Get("trainingRun"); text != nil {
		if err := validateTrainingRun(text); err != nil {
			return fmt.Errorf("metadata: trainingRun: %w", err)
		}
	}
	if text := a.Metadata.Get("sourceData"); text != nil {
		if err := a.validateSourceData(text); err != nil {
			return fmt.Errorf("metadata: sourceData: %w", err)
		}
	}
	return nil
}

func validateTrainingRun(text []byte) error {
	run, err := strictjson.Parse(text)
	if err != nil {
		return err
	}
	config, err := strictjson.Parse(run.Get("configuration"))
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	seed, err := strictjson.String(config.Get("seed"))
	if err == nil {
		_, err = strconv.ParseUint(seed, 10, 64)
	}
	if err != nil {
		return fmt.Errorf("seed %s: want the decimal digits of an unsigned 64-bit integer, as a string", config.Get("seed"))
	}
	return nil
}

// validateSourceData wants a digest of the features of every support row and every calibration row.
func (a *Artifact) validateSourceData(text []byte) error {
	source, err := strictjson.Parse(text)
	if err != nil {
		return err
	}
	for key, rows := range map[string]int{"trainingFeatureDigests": len(a.Records), "calibrationFeatureDigests": len(a.Calibration)} {
		digests, err := strictjson.Elements(source.Get(key))
		if err != nil || len(digests) != rows {
			return fmt.Errorf("%s: %d digests for %d rows", key, len(digests), rows)
		}
	}
	return nil
}
