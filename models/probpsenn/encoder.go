package probpsenn

import (
	"context"
	"fmt"

	"github.com/credence-ml/credence/models/data"
)

// An Encoder is the user's own way from inputs to feature vectors, for models of the network "features": prototypes of
// its vectors take the place of pictures, and nothing is decoded.
type Encoder interface {
	// InputSize is the number of values of one input, at least 1.
	InputSize() int
	// Encode maps inputs, one after the other, to as many vectors, one after the other.
	Encode(ctx context.Context, inputs []float32) (vectors []float32, err error)
}

// EncodeImages maps a set of inputs to the set of their feature vectors, with the same labels, a piece at a time.
func EncodeImages(ctx context.Context, e Encoder, images *data.Images) (*data.Images, error) {
	out := &data.Images{N: images.N, Height: 1, Channels: 1, Labels: images.Labels, Names: images.Names, Source: images.Source}
	size := e.InputSize()
	if size != images.ImageSize() {
		return nil, invalidf("inputs of %d values, the encoder takes %d", images.ImageSize(), size)
	}
	for at := 0; at < images.N; at += encodeBatch {
		n := min(encodeBatch, images.N-at)
		vectors, err := e.Encode(ctx, images.Pixels[at*size:(at+n)*size])
		if err != nil {
			return nil, err
		}
		if at == 0 {
			out.Width = len(vectors) / n
		}
		if out.Width == 0 || len(vectors) != n*out.Width {
			return nil, invalidf("the encoder made %d values of %d inputs; vectors of %d values were expected", len(vectors), n, max(1, out.Width))
		}
		out.Pixels = append(out.Pixels, vectors...)
	}
	return out, nil
}

// encode makes the model's inputs of the caller's.
func (p *Predictor) encode(ctx context.Context, x []float32) ([]float32, error) {
	if p.o.Encoder == nil {
		return x, nil
	}
	vectors, err := p.o.Encoder.Encode(ctx, x)
	if err != nil {
		return nil, fmt.Errorf("prob-psenn: encoder: %w", err)
	}
	return vectors, nil
}

// inputSize is the number of values of one input as the caller gives it.
func (p *Predictor) inputSize() int {
	if p.o.Encoder != nil {
		return max(1, p.o.Encoder.InputSize())
	}
	return p.m.inputSize()
}
