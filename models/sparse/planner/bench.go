package planner

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// BenchOptions say what is measured. All must be given.
type BenchOptions struct {
	D, DFF        int    // width and neurons
	DType         string // of the weights: f32, f16, bf16, q8_0 or q4_0
	Layers, Calls int    // used in turn; timed calls of each kind
	Predictor     float64
	Clock         func() time.Duration
}

var storedTypes = map[string]ops.DType{"f32": ops.F32, "f16": ops.F16, "bf16": ops.BF16, "q8_0": ops.Q8_0, "q4_0": ops.Q4_0}

// Check reports what cannot be measured.
func (o *BenchOptions) Check() error {
	t, known := storedTypes[o.DType]
	switch {
	case !known:
		return fmt.Errorf("unknown type %q of weights; f32, f16, bf16, q8_0 or q4_0 is needed", o.DType)
	case o.D < 1 || o.DFF < 1 || int64(o.D)%t.Block() != 0 || int64(o.DFF)%t.Block() != 0:
		return fmt.Errorf("a block of width %d and %d neurons: positive multiples of %d are needed for %s", o.D, o.DFF, t.Block(), o.DType)
	case o.Layers < 1 || o.Calls < 1:
		return fmt.Errorf("%d layers and %d calls; at least one of each is needed", o.Layers, o.Calls)
	}
	return nil
}

// A Result is one sparsity: medians of the times, and of the ratios of calls that followed each other.
type Result struct {
	Sparsity float64    `json:"sparsity"` // as measured
	Bounds   Bounds     `json:"bounds"`
	FFN      Comparison `json:"ffn"`
	Up       Comparison `json:"up"`
	Down     Comparison `json:"down"`
}

// A Comparison is a dense computation against the sparse one. Dense is the better of the two layouts of down, where down
// takes part; Rows is the one with a row per output.
type Comparison struct {
	Dense      time.Duration `json:"dense_ns"`
	Transposed time.Duration `json:"dense_transposed_ns"`
	Rows       time.Duration `json:"dense_rows_ns,omitempty"`
	Sparse     time.Duration `json:"sparse_ns"`
	Ratio      float64       `json:"ratio"`
}

// ffnKind is one way to compute a block or a part of it.
type ffnKind int

const (
	ffnTransposed ffnKind = iota // dense, down stored like the others
	ffnRows                      // dense, down with a row per output
	ffnSparse
	upDense
	upSparse
	downTransposed
	downRows
	downSparse
	ffnKinds
)

// ffnPlan is a kind compiled for one place in the weights.
type ffnPlan struct {
	plan       *runtime.Plan
	binding    *runtime.Binding
	x, mask, y ops.Tensor
	values     bool // mask holds the neurons' values; else it is the bias of the gate
}

// A Bench times a gated feed-forward block of one row, dense and sparse. It holds several layers' weights, and the plans of
// each kind of computation, which take the layers or their matrices in turn, so that weights come from memory.
type Bench struct {
	o        *BenchOptions
	rt       *runtime.Runtime
	session  *runtime.Session
	memories []*runtime.Memory
	plans    [ffnKinds][]ffnPlan
	turn     int
	random   *rand.Rand
	clock    func() time.Duration
}

// openGate is added to the gate of active neurons and taken from that of the others: far more than any product.
const openGate = 1000

// NewBench allocates the layers and fills them with random weights.
func NewBench(rt *runtime.Runtime, o *BenchOptions) (*Bench, error) {
	b := &Bench{o: o, rt: rt, random: rand.New(rand.NewPCG(1, 2)), clock: o.Clock}
	var err error
	if b.session, err = rt.NewSession(); err != nil {
		return nil, err
	}
	var weights []byte
	for layer := range o.Layers {
		seg := ops.NewSegment(fmt.Sprintf("layer%d", layer))
		v := ffnVars(seg, storedTypes[o.DType], int64(o.D), int64(o.DFF))
		if weights == nil {
			weights = randomWeights(storedTypes[o.DType], seg.Bytes(), b.random)
		}
		m, err := rt.Allocate(seg)
		if err == nil {
			b.memories = append(b.memories, m)
			err = m.WriteAll(weights)
		}
		for kind := range ffnKinds {
			if err == nil {
				err = b.compile(kind, m, v)
			}
		}
		if err != nil {
			b.Close()
			return nil, err
		}
	}
	return b, nil
}

// Close frees the layers.
func (b *Bench) Close() {
	b.session.Close()
	for _, list := range b.plans {
		for _, p := range list {
			p.plan.Close()
		}
	}
	for _, m := range b.memories {
		m.Close()
	}
}

// LayerBytes is the size of one layer's weights.
func (b *Bench) LayerBytes() int64 { return b.memories[0].Segment.Bytes() }

// ffnLayer is a layer's three matrices [dff, d], and each of them read as [d, dff].
type ffnLayer struct{ byNeuron, byOutput [3]*ops.Var }

func ffnVars(seg *ops.Segment, t ops.DType, d, dff int64) (l ffnLayer) {
	for i, name := range []string{"gate", "up", "down"} {
		l.byNeuron[i] = seg.Add(name, t, dff, d)
	}
	for i, v := range l.byNeuron {
		l.byOutput[i], _ = seg.AddAt(v.Offset, v.Name+" by output", t, d, dff) // lies where v does: it fits
	}
	return l
}

// compile adds the plans of a kind that read one layer: one of the whole block, or one for each matrix.
func (b *Bench) compile(kind ffnKind, m *runtime.Memory, l ffnLayer) error {
	matrices := 1
	if kind >= upDense {
		matrices = 3
	}
	d, dff := int64(b.o.D), int64(b.o.DFF)
	for i := range matrices {
		g := ops.NewGraph()
		p := ffnPlan{values: kind >= upDense}
		width := d
		if kind >= downTransposed {
			width = dff
		}
		p.x = g.Input("x", ops.F32, ops.Dims(1, width))
		relu := ops.Activation{Kind: ops.ActReLU}
		switch kind {
		case ffnTransposed, ffnSparse: // biases are all or none
			p.mask = g.Input("mask", ops.F32, ops.Dims(dff))
			w := ops.FFNWeights{Gate: g.Use(l.byNeuron[0]), Up: g.Use(l.byNeuron[1]), Down: g.Use(l.byNeuron[2]), GateBias: p.mask,
				UpBias: g.Const("none", make([]float32, dff), dff), DownBias: g.Const("none", make([]float32, d), d)}
			p.y = ops.SparseFFN(p.x, w, ops.FFNOptions{Activation: relu, Limit: limitOfKind(kind)}).Y
		case ffnRows:
			p.mask = g.Input("mask", ops.F32, ops.Dims(dff))
			gate := ops.Activate(ops.Linear(p.x, g.Use(l.byNeuron[0]), p.mask), relu)
			p.y = ops.Linear(ops.Mul(gate, ops.Linear(p.x, g.Use(l.byNeuron[1]), ops.Tensor{})), g.Use(l.byOutput[2]), ops.Tensor{})
		case upDense, upSparse:
			p.mask = g.Input("mask", ops.F32, ops.Dims(1, dff))
			p.y, _ = ops.MaskedLinear(p.x, g.Use(l.byNeuron[i]), p.mask, limitOfKind(kind))
		case downTransposed, downSparse:
			p.mask = p.x
			p.y, _ = ops.SparseLinear(p.x, g.Use(l.byNeuron[i]), ops.Tensor{}, limitOfKind(kind))
		case downRows:
			p.mask = p.x
			p.y = ops.Linear(p.x, g.Use(l.byOutput[i]), ops.Tensor{})
		}
		g.Output(p.y)
		var err error
		if p.plan, err = b.rt.Compile(g, "ffn"); err != nil {
			return err
		}
		b.plans[kind] = append(b.plans[kind], p)
		last := &b.plans[kind][len(b.plans[kind])-1]
		if last.binding, err = b.session.Bind(p.plan, m); err != nil {
			return err
		}
	}
	return nil
}

func limitOfKind(kind ffnKind) float64 {
	if kind == ffnSparse || kind == upSparse || kind == downSparse {
		return 1 // the list, however long
	}
	return -1
}

// randomWeights are bytes that are numbers of moderate size and either sign in the type given.
func randomWeights(t ops.DType, n int64, r *rand.Rand) []byte {
	data := make([]byte, n)
	for i := 0; i+8 <= len(data); i += 8 {
		binary.LittleEndian.PutUint64(data[i:], r.Uint64())
	}
	half := func(b []byte, exponent, sign uint16) { // 2^-exponent to 2^(1-exponent)
		u := binary.LittleEndian.Uint16(b)
		binary.LittleEndian.PutUint16(b, u&(0x3ff|sign)|(15-exponent)<<10)
	}
	switch t {
	case ops.F32:
		for i := 3; i < len(data); i += 4 {
			data[i] = data[i]&0x80 | 0x3c // magnitudes of 1/128 to 1/32, nearly
		}
	case ops.BF16:
		for i := 1; i < len(data); i += 2 {
			data[i] = data[i]&0x80 | 0x3c
		}
	case ops.F16:
		for i := 0; i+2 <= len(data); i += 2 {
			half(data[i:], 6, 0x8000)
		}
	default: // blocks begin with their scale
		for i := 0; i+int(t.BlockBytes()) <= len(data); i += int(t.BlockBytes()) {
			half(data[i:], 12, 0)
		}
	}
	return data
}

// A Draw gives the next mask: which neurons are active.
type Draw func(r *rand.Rand, active []bool)

// RandomMasks are masks in which that share of the neurons is inactive.
func RandomMasks(sparsity float64) Draw {
	return func(r *rand.Rand, active []bool) {
		clear(active)
		for _, i := range r.Perm(len(active))[:int(math.Round((1-sparsity)*float64(len(active))))] {
			active[i] = true
		}
	}
}

// FileMasks are the rows of an NPY file [n, dff] of float32 activations, one after the other: what is not 0 is active.
func FileMasks(path string, dff int) (Draw, error) {
	rows, err := readMasks(path, dff)
	if err != nil {
		return nil, err
	}
	next := 0
	return func(_ *rand.Rand, active []bool) {
		for i, v := range rows[next%len(rows)] {
			active[i] = v != 0
		}
		next++
	}, nil
}

func readMasks(path string, dff int) ([][]float32, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("masks: %w", err)
	}
	defer f.Close()
	m, err := data.NewNPYMatrix(f, path)
	if err != nil {
		return nil, fmt.Errorf("masks: %w", err)
	}
	if m.Columns != dff {
		return nil, fmt.Errorf("masks %s: rows of %d neurons, the block has %d", path, m.Columns, dff)
	}
	var rows [][]float32
	for range m.Rows {
		row, err := m.Append(nil)
		if err != nil {
			return nil, fmt.Errorf("masks: %w", err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// call runs a kind on the next layer or matrix with this mask and x, and returns the time.
func (b *Bench) call(ctx context.Context, kind ffnKind, active []bool, x []float32) (time.Duration, error) {
	b.turn++
	return b.run(ctx, &b.plans[kind][b.turn%len(b.plans[kind])], active, x)
}

func (b *Bench) run(ctx context.Context, p *ffnPlan, active []bool, x []float32) (time.Duration, error) {
	mask := make([]float32, len(active))
	for i, a := range active {
		switch {
		case p.values && a:
			mask[i] = x[i%len(x)]
		case !p.values && a:
			mask[i] = openGate
		case !p.values:
			mask[i] = -openGate
		}
	}
	if err := p.binding.Write(p.mask, mask); err != nil {
		return 0, err
	}
	if p.mask != p.x {
		if err := p.binding.Write(p.x, x); err != nil {
			return 0, err
		}
	}
	begin := b.clock()
	err := p.binding.Run(ctx)
	return b.clock() - begin, err
}

// Measure times all kinds with masks drawn for every call, after proving that sparse and dense give the same bits.
func (b *Bench) Measure(ctx context.Context, draw Draw) (Result, error) {
	active, x := make([]bool, b.o.DFF), make([]float32, b.o.D)
	renew := func() {
		draw(b.random, active)
		for i := range x {
			x[i] = float32(b.random.NormFloat64())
		}
	}
	renew()
	if err := b.verify(ctx, active, x); err != nil {
		return Result{}, err
	}
	times := [ffnKinds][]time.Duration{}
	count, inactive := 0, 0
	for _, group := range [][]ffnKind{{ffnTransposed, ffnSparse, ffnRows}, {upDense, upSparse}, {downTransposed, downSparse, downRows}} {
		for range b.o.Calls {
			for _, kind := range group {
				renew()
				for _, a := range active {
					count++
					if !a {
						inactive++
					}
				}
				t, err := b.call(ctx, kind, active, x)
				if err != nil {
					return Result{}, err
				}
				times[kind] = append(times[kind], t)
			}
		}
	}
	if inactive == count {
		return Result{}, errors.New("no neuron is active: there is nothing to be measured")
	}
	r := Result{Sparsity: float64(inactive) / float64(count),
		FFN:  compared(times[ffnTransposed], times[ffnRows], times[ffnSparse]),
		Up:   compared(times[upDense], nil, times[upSparse]),
		Down: compared(times[downTransposed], times[downRows], times[downSparse])}
	r.Bounds = FFN{Matrices: 3, Sparsity: r.Sparsity, Predictor: b.o.Predictor}.Bounds()
	return r, nil
}

// verify proves, on one call, that what is to be timed gives the same bits as the dense block.
func (b *Bench) verify(ctx context.Context, active []bool, x []float32) error {
	var y [2][]float32
	for i, kind := range []ffnKind{ffnTransposed, ffnSparse} {
		p := &b.plans[kind][0]
		if _, err := b.run(ctx, p, active, x); err != nil {
			return err
		}
		y[i] = make([]float32, b.o.D)
		if err := p.binding.Read(p.y, y[i]); err != nil {
			return err
		}
	}
	for i := range y[0] {
		if math.Float32bits(y[0][i]) != math.Float32bits(y[1][i]) {
			return fmt.Errorf("output %d is %v with all neurons read and %v with the active ones: they must be the same bits", i, y[0][i], y[1][i])
		}
	}
	return nil
}

// compared makes medians; the ratio is the median of the ratios of calls that followed each other.
func compared(transposed, rows, sparse []time.Duration) Comparison {
	c := Comparison{Transposed: median(transposed), Sparse: median(sparse)}
	c.Dense = c.Transposed
	better := transposed
	if rows != nil {
		if c.Rows = median(rows); c.Rows < c.Dense {
			c.Dense, better = c.Rows, rows
		}
	}
	ratios := make([]float64, len(sparse))
	for i := range ratios {
		ratios[i] = float64(better[i]) / float64(sparse[i])
	}
	c.Ratio = median(ratios)
	return c
}

func median[T time.Duration | float64](v []T) T {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2]
}
