package probpsenn

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/runtime"
)

// halves is an encoder of inputs of 8 values to vectors of 4, the means of neighbours.
type halves struct {
	fail  error
	short bool
}

func (halves) InputSize() int { return 8 }

func (h halves) Encode(_ context.Context, x []float32) ([]float32, error) {
	var z []float32
	for i := 0; i+1 < len(x); i += 2 {
		z = append(z, (x[i]+x[i+1])/2)
	}
	if h.short {
		z = z[:len(z)-1]
	}
	return z, h.fail
}

// A model over a user's encoder is trained on its vectors, and predicts what the encoder takes.
func TestEncoder(t *testing.T) {
	ctx := context.Background()
	images := toyVectors(600, 8, 4, 1)
	for i := range images.Pixels { // neighbours are about equal
		if i%2 == 1 {
			images.Pixels[i] = images.Pixels[i-1] + .1
		}
	}
	vectors, err := EncodeImages(ctx, halves{}, images)
	require.NoError(t, err)
	require.Equal(t, []int{600, 1, 4, 1}, []int{vectors.N, vectors.Height, vectors.Width, vectors.Channels})
	require.Equal(t, images.Labels, vectors.Labels)
	m := trainToy(t, openToy(t, runtime.WithDevice("go")), vectorConfig(4, 4), vectors)

	want := predictAll(t, m, PredictorOptions{}, vectors.Pixels[:20*4])
	got := predictAll(t, m, PredictorOptions{Encoder: halves{}, MaxBatch: 7}, images.Pixels[:20*8])
	require.Len(t, got, 20)
	for i := range want {
		assert.Equal(t, want[i].Probabilities, got[i].Probabilities)
		assert.Equal(t, want[i].Latent, got[i].Latent)
		assert.Equal(t, want[i].Verdict, got[i].Verdict)
	}

	why := errors.New("no network today")
	for text, e := range map[string]Encoder{
		"prob-psenn: encoder: no network today":                                           halves{fail: why},
		"prob-psenn: the encoder made 7 values of 2 inputs; the model takes vectors of 4": halves{short: true},
	} {
		p, err := m.NewPredictor(PredictorOptions{Encoder: e})
		require.NoError(t, err)
		_, err = p.Predict(ctx, images.Pixels[:16])
		assert.EqualError(t, err, text)
		assert.ErrorContains(t, p.PredictInto(ctx, make([]Prediction, 2), images.Pixels[:17]), "17 values are not 2 inputs of 8")
		p.Close()
	}
	_, err = EncodeImages(ctx, halves{fail: why}, images)
	assert.ErrorIs(t, err, why)
	_, err = EncodeImages(ctx, halves{short: true}, images)
	assert.ErrorIs(t, err, runtime.ErrInvalidArgument)
	_, err = EncodeImages(ctx, halves{}, toyVectors(4, 3, 2, 1))
	assert.ErrorContains(t, err, "inputs of 3 values, the encoder takes 8")
}
