//go:build cgo

package main

/*
#include "credence.h"

typedef const char credence_text;
typedef const float credence_numbers;
*/
import "C"

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"unsafe"

	"github.com/credence-ml/credence/models/probpsenn"
	"github.com/credence-ml/credence/runtime"
)

//export credence_load
func credence_load(handle C.uint64_t, path *C.credence_text, out *C.uint64_t, message *C.char, messageSize C.size_t) C.int32_t {
	return export(message, messageSize, func() error {
		if out == nil || path == nil {
			return fmt.Errorf("credence_load: %w: path or model is NULL", runtime.ErrInvalidArgument)
		}
		*out = 0
		rt, done, err := use[*openRuntime](&handles, uint64(handle))
		if err != nil {
			return err
		}
		defer done()
		m, err := rt.load(C.GoString((*C.char)(path)))
		if err != nil {
			return err
		}
		*out = C.uint64_t(handles.add(m))
		return nil
	})
}

//export credence_model_json
func credence_model_json(handle C.uint64_t, buffer *C.char, size C.size_t, needed *C.size_t, message *C.char, messageSize C.size_t) C.int32_t {
	return export(message, messageSize, func() error {
		m, done, err := use[*openModel](&handles, uint64(handle))
		if err != nil {
			return err
		}
		defer done()
		text, err := json.Marshal(m.info())
		if err != nil {
			return err
		}
		return answer(text, buffer, size, needed)
	})
}

//export credence_predict
func credence_predict(handle C.uint64_t, inputs *C.credence_numbers, inputValues, count C.size_t, predictions *C.credence_prediction,
	predictionSize C.size_t, probabilities *C.double, probabilityValues C.size_t, message *C.char, messageSize C.size_t) C.int32_t {
	return export(message, messageSize, func() error {
		m, done, err := use[*openModel](&handles, uint64(handle))
		if err != nil {
			return err
		}
		defer done()
		x, err := m.inputs(inputs, inputValues, count)
		if err != nil {
			return err
		}
		n, classes := int(count), m.model.Config.Classes
		switch {
		case n > 0 && predictions == nil:
			return fmt.Errorf("credence_predict: %w: predictions is NULL", runtime.ErrInvalidArgument)
		case predictionSize < C.sizeof_credence_prediction || predictionSize%8 != 0 || predictionSize > 1<<16:
			return fmt.Errorf("credence_predict: %w: prediction_size is %d; sizeof(credence_prediction) is %d", runtime.ErrInvalidArgument,
				uint64(predictionSize), C.sizeof_credence_prediction)
		case probabilities == nil && probabilityValues != 0 || probabilities != nil && uint64(probabilityValues) != uint64(n)*uint64(classes):
			return fmt.Errorf("credence_predict: %w: room for %d probabilities; %d inputs have %d of %d classes", runtime.ErrInvalidArgument,
				uint64(probabilityValues), n, n*classes, classes)
		}
		out, err := m.predict(x, n)
		if err != nil {
			return err
		}
		for i := range out {
			to := (*C.credence_prediction)(unsafe.Add(unsafe.Pointer(predictions), i*int(predictionSize)))
			fillPrediction(to, &out[i])
			if probabilities != nil {
				copy(unsafe.Slice((*float64)(unsafe.Pointer(probabilities)), n*classes)[i*classes:], out[i].Probabilities)
			}
		}
		return nil
	})
}

//export credence_explain_json
func credence_explain_json(handle C.uint64_t, input *C.credence_numbers, inputValues C.size_t, buffer *C.char, size C.size_t,
	needed *C.size_t, message *C.char, messageSize C.size_t) C.int32_t {
	return export(message, messageSize, func() error {
		m, done, err := use[*openModel](&handles, uint64(handle))
		if err != nil {
			return err
		}
		defer done()
		x, err := m.inputs(input, inputValues, 1)
		if err != nil {
			return err
		}
		e, err := m.model.Explain(context.Background(), probpsenn.ExplainOptions{}, x)
		if err != nil {
			return err
		}
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		return answer(text, buffer, size, needed)
	})
}

// inputs are the caller's numbers, not copied.
func (m *openModel) inputs(x *C.credence_numbers, values, count C.size_t) ([]float32, error) {
	want := m.model.Config.InputSize()
	switch {
	case uint64(values) != uint64(want):
		return nil, fmt.Errorf("%w: inputs of %d values; the model takes %d", runtime.ErrInvalidArgument, uint64(values), want)
	case uint64(count) > math.MaxInt32:
		return nil, fmt.Errorf("%w: %d inputs at once; at most %d", runtime.ErrInvalidArgument, uint64(count), math.MaxInt32)
	case x == nil && count > 0:
		return nil, fmt.Errorf("%w: the inputs are NULL", runtime.ErrInvalidArgument)
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(x)), want*int(count)), nil
}

var verdicts = map[probpsenn.Verdict]C.int32_t{
	probpsenn.Uncertain:  C.CREDENCE_VERDICT_NONE,
	probpsenn.Trusted:    C.CREDENCE_VERDICT_TRUSTED,
	probpsenn.Ambiguous:  C.CREDENCE_VERDICT_AMBIGUOUS,
	probpsenn.Unfamiliar: C.CREDENCE_VERDICT_UNFAMILIAR,
}

func fillPrediction(to *C.credence_prediction, p *probpsenn.Prediction) {
	to.label, to.verdict = C.int32_t(p.Label), verdicts[p.Verdict]
	to.probability = C.double(p.Probability)
	to.predictive_entropy, to.aleatoric_entropy = C.double(p.PredictiveEntropy), C.double(p.AleatoricEntropy)
	to.mutual_information = C.double(p.MutualInformation)
	to.distance, to.explanation_percentile = C.double(p.Scores.Distance), C.double(p.Scores.ExplanationPercentile)
	to.mahalanobis, to.chi_square = C.double(p.Scores.Mahalanobis), C.double(p.Scores.ChiSquare)
	to.reconstruction = C.double(p.Scores.Reconstruction)
	to.combined, to.unfamiliarity = C.double(p.Scores.Combined), C.double(p.Scores.Unfamiliarity)
	to.ambiguity = C.double(p.Scores.Ambiguity)
}
