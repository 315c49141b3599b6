package probpsenn

import (
	"maps"
	"slices"

	"github.com/credence-ml/credence/ops"
)

// A network maps inputs to latent vectors: convolutions for pictures, or "features", which takes the user's own vectors
// as they are (see Encoder).
type network interface {
	// declare adds the network's variables.
	declare(d *declaration, c *Config)
	// encode records the latent vectors [B,D] of inputs; a VAE also gives the logarithm of their variances.
	encode(b *builder, x ops.Tensor) (mean, logVariance ops.Tensor)
	// decode records the pictures of latent vectors in [-1,1]; the zero Tensor if there is no decoder.
	decode(b *builder, z ops.Tensor) ops.Tensor
	channels() int
}

// networks makes the network of each name.
var networks = map[string]func() network{
	"grey32":   func() network { return &picture{widths: []int64{32, 32, 64, 256}, n: 1} },
	"colour32": func() network { return &picture{widths: []int64{64, 128, 256, 512}, n: 3} },
	"features": func() network { return features{} },
}

func networkNames() []string { return slices.Sorted(maps.Keys(networks)) }

// picture is the convolutional autoencoder of section 1.7 for 32 x 32 pictures: three halvings and a 4 x 4 layer down
// to one vector, and the mirror image up.
type picture struct {
	widths           []int64
	n                int64
	vae              bool
	latent           int64
	encoder, decoder []*block
}

func (p *picture) channels() int { return int(p.n) }

func (p *picture) declare(d *declaration, c *Config) {
	p.vae, p.latent = c.VAE, int64(c.Latent)
	w := p.widths
	out := p.latent
	if p.vae {
		out *= 2
	}
	half, full := block{stride: 2, pad: 1}, block{stride: 1}
	p.encoder = []*block{
		d.block("encoder.0", half, 4, p.n, w[0], true),
		d.block("encoder.1", half, 4, w[0], w[1], true),
		d.block("encoder.2", half, 4, w[1], w[2], true),
		d.block("encoder.3", full, 4, w[2], w[3], true),
		d.block("encoder.4", full, 1, w[3], out, false),
	}
	double := block{stride: 2, pad: 1, transposed: true}
	picture := double
	picture.last = ops.Activation{Kind: ops.ActTanh}
	p.decoder = []*block{
		d.block("decoder.0", full, 1, p.latent, w[3], true),
		d.block("decoder.1", block{stride: 1, transposed: true}, 4, w[3], w[2], true),
		d.block("decoder.2", double, 4, w[2], w[1], true),
		d.block("decoder.3", double, 4, w[1], w[0], true),
		d.block("decoder.4", picture, 4, w[0], p.n, false),
	}
}

func (p *picture) encode(b *builder, x ops.Tensor) (mean, logVariance ops.Tensor) {
	for _, l := range p.encoder {
		x = b.apply(l, x)
	}
	n := x.Dim(0)
	if !p.vae {
		return ops.Reshape(x, n, ops.N(p.latent)), ops.Tensor{}
	}
	both := ops.Reshape(x, n, ops.N(2*p.latent))
	return ops.Contiguous(ops.Slice(both, 1, ops.N(0), ops.N(p.latent))), ops.Contiguous(ops.Slice(both, 1, ops.N(p.latent), ops.N(p.latent)))
}

func (p *picture) decode(b *builder, z ops.Tensor) ops.Tensor {
	x := ops.Reshape(z, z.Dim(0), ops.N(1), ops.N(1), ops.N(p.latent))
	for _, l := range p.decoder {
		x = b.apply(l, x)
	}
	return x
}

// sampleLatent draws a latent vector [B,D] of a VAE for each input; the random numbers are those of a stream from a row on.
func sampleLatent(g *ops.Graph, mean, logVariance ops.Tensor, seed uint64, stream int64, row ops.Int) ops.Tensor {
	eps := ops.RandomNormal(g, ops.Shape{mean.Dim(0), mean.Dim(1)}, ops.N(int64(seed)), ops.N(stream), row, ops.V(0), ops.V(1))
	return ops.Add(mean, ops.Mul(eps, ops.Exp(ops.Scale(logVariance, .5))))
}

// features takes vectors as latent vectors: the prototypes of a classifier over somebody else's encoder.
type features struct{}

func (features) declare(*declaration, *Config) {}
func (features) channels() int                 { return 1 }
func (features) encode(_ *builder, x ops.Tensor) (mean, logVariance ops.Tensor) {
	return x, ops.Tensor{}
}
func (features) decode(*builder, ops.Tensor) ops.Tensor { return ops.Tensor{} }
