package artifact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/credence-ml/credence/models/internal/bundle"
	"github.com/credence-ml/credence/models/internal/strictjson"
)

// parse takes the manifest apart. What it says of sizes is proved here, before memory is taken for them.
func (r *reader) parse(fields strictjson.Object) error {
	a, c := r.a, &r.a.Config
	o := &object{fields: fields}
	o.take("schemaVersion", func(v []byte) error { _, err := strictjson.Int(v, 1, 1); return err })
	o.string("modelID", &a.ID)
	o.take("createdAt", func(v []byte) error {
		text, err := strictjson.String(v)
		if err == nil {
			a.Created, err = time.Parse(time.RFC3339, text)
		}
		return err
	})
	o.object("producer", func(o *object) {
		o.string("name", &a.Producer.Name)
		o.string("version", &a.Producer.Version)
	})
	classes := 0
	o.object("configuration", func(o *object) {
		o.int("numberOfClasses", &classes, 2, maxElements)
		o.take("classNames", func(v []byte) error {
			elements, err := strictjson.Elements(v)
			for _, e := range elements {
				name, wrong := strictjson.String(e)
				if wrong != nil {
					return wrong
				}
				c.ClassNames = append(c.ClassNames, name)
			}
			return err
		})
		o.int("embeddingDimension", &c.EmbeddingDimension, 1, maxElements)
		o.int("exemplarDimension", &c.ExemplarDimension, 1, maxElements)
		o.int("maxNeighbors", &c.MaxNeighbors, 1, math.MaxInt)
		o.float32("qOffset", &c.QOffset)
		o.int("oodLimit", &c.OODLimit, 0, math.MaxInt)
		o.take("alphaResolution", func(v []byte) (err error) { c.AlphaResolution, err = strictjson.Float(v); return err })
		o.constant("distanceMetric", "squaredL2")
		o.constant("neighborTieBreak", "supportIndexAscending")
	})
	o.object("normalization", func(o *object) {
		o.float32("mean", &a.Normalization.Mean)
		o.float32("standardDeviation", &a.Normalization.StandardDeviation)
	})
	o.object("representation", func(o *object) {
		o.string("provider", &a.Representation.Provider)
		o.text("model", &a.Representation.Model)
		o.text("revision", &a.Representation.Revision)
		o.text("inputTemplate", &a.Representation.InputTemplate)
		o.string("fingerprint", &a.Representation.Fingerprint)
	})
	elements := 0
	o.object("weights", func(o *object) {
		o.constant("file", weightsFile)
		o.int("elementCount", &elements, 1, math.MaxInt)
	})
	o.object("support", func(o *object) {
		o.constant("vectorsFile", vectorsFile)
		o.constant("recordsFile", recordsFile)
		o.int("count", &r.count, 1, maxElements)
	})
	o.take("distanceCDFs", func(v []byte) error { return parseCDFs(v, &a.DistanceCDFs) })
	o.take("rescaledSimilarityCDFs", func(v []byte) error { return parseCDFs(v, &a.SimilarityCDFs) })
	o.take("regions", func(v []byte) error {
		list, err := strictjson.Elements(v)
		for _, e := range list {
			var x Region
			region := open(e)
			region.take("alpha", func(v []byte) (err error) { x.Alpha, err = strictjson.Float(v); return err })
			region.float32("minimumRescaledSimilarity", &x.MinimumSimilarity)
			region.float32s("outputThresholds", &x.Thresholds)
			if err := region.end(); err != nil {
				return fmt.Errorf("%d: %w", len(a.Regions), err)
			}
			a.Regions = append(a.Regions, x)
		}
		return err
	})
	o.optional("checksums", r.parseChecksums)
	o.optional("metadata", func(v []byte) (err error) { a.Metadata, err = strictjson.Parse(v); return err })
	if err := o.end(); err != nil {
		return err
	}
	if classes != c.Classes() {
		return fmt.Errorf("configuration: %d class names for %d classes", c.Classes(), classes)
	}
	if err := a.validateHead(r.count); err != nil {
		return err
	}
	sizes := c.weightSizes()
	if want := sizes[0] + sizes[1] + sizes[2] + sizes[3]; elements != want {
		return fmt.Errorf("weights: elementCount %d; the configuration asks for %d", elements, want)
	}
	return nil
}

func parseCDFs(v []byte, to *[][]float32) error {
	classes, err := strictjson.Elements(v)
	for _, e := range classes {
		values, err := strictjson.Float32s([]float32{}, e)
		if err != nil {
			return fmt.Errorf("class %d: %w", len(*to), err)
		}
		*to = append(*to, values)
	}
	return err
}

func (r *reader) parseChecksums(v []byte) error {
	fields, err := strictjson.Parse(v)
	if err != nil {
		return err
	}
	r.checksums = map[string]string{}
	for _, f := range fields {
		if !slices.Contains([]string{weightsFile, vectorsFile, recordsFile, calibrationFile}, f.Key) {
			return fmt.Errorf("%q is no file of a model", f.Key)
		}
		sum, err := strictjson.String(f.Value)
		if err == nil {
			err = bundle.CheckSum(sum)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Key, err)
		}
		r.checksums[f.Key] = sum
	}
	return nil
}

func parseRecord(fields strictjson.Object) (r Record, err error) {
	o := &object{fields: fields}
	o.string("id", &r.ID)
	o.int32("label", &r.Label, OutOfDistribution, math.MaxInt32)
	o.int32("predictedLabel", &r.Predicted, 0, math.MaxInt32)
	o.optional("document", func(v []byte) error { return parseText(v, &r.Document) })
	o.optional("metadata", func(v []byte) error {
		if !strictjson.IsNull(v) {
			r.Metadata = json.RawMessage(bytes.Clone(v))
		}
		return nil
	})
	return r, o.end()
}

func parseCalibrated(fields strictjson.Object) (r Calibrated, err error) {
	o := &object{fields: fields}
	o.string("id", &r.ID)
	o.int32("label", &r.Label, 0, math.MaxInt32)
	o.int32("prediction", &r.Prediction, 0, math.MaxInt32)
	o.float32s("sdm", &r.SDM)
	o.float32("qPrime", &r.QPrime)
	o.optional("q", func(v []byte) error {
		wide, err := strictjson.Float(v) // 3.0 is a count too
		if err != nil {
			return err
		}
		if wide != math.Trunc(wide) || wide < 0 || wide > math.MaxInt32 {
			return fmt.Errorf("%s: want a count", v)
		}
		q := int32(wide)
		r.Q = &q
		return nil
	})
	o.optional("d0", func(v []byte) error { r.D0 = new(float32); return parseFloat32(v, r.D0) })
	o.optional("d", func(v []byte) error { r.D = new(float32); return parseFloat32(v, r.D) })
	o.optional("zPrime", func(v []byte) (err error) { r.ZPrime, err = strictjson.Float32s([]float32{}, v); return err })
	return r, o.end()
}
