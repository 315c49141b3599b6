package main

import (
	"errors"
	"fmt"
	"io"
	goruntime "runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/report"
	"github.com/credence-ml/credence/models/sparse/planner"
	"github.com/credence-ml/credence/runtime"
)

// ffnSettings are the flags of `credence bench ffn`.
type ffnSettings struct {
	planner.BenchOptions
	masks, plot     string
	sparsity        []float64
	cpuTime, asJSON bool
}

// ffnDocument is the JSON of `credence bench ffn`.
type ffnDocument struct {
	Version string             `json:"version"`
	Device  runtime.DeviceInfo `json:"device"`
	Threads int                `json:"threads"`
	D       int                `json:"d"`
	DFF     int                `json:"dff"`
	DType   string             `json:"dtype"`
	Layers  int                `json:"layers"`
	Calls   int                `json:"calls"`
	Clock   string             `json:"clock"`
	Results []planner.Result   `json:"results"`
}

func newBenchFFN(s *settings) *cobra.Command {
	var o ffnSettings
	c := &cobra.Command{
		Use:   "ffn",
		Short: "Time a feed-forward block with few active neurons against the dense one, and against what its bytes allow",
		Long: "ffn times a gated block y = (relu(x Gate') * (x Up')) Down on one row: dense, with Down in either of its two\n" +
			"layouts, and skipping the neurons that are 0, which gives the same bits (checked before anything is timed).\n" +
			"Several layers are used in turn, so that weights come from memory, and every call has another mask: of the\n" +
			"sparsity given, or the next row of a file. The bound counts bytes: gate-first 3 / (1 + 2 active), for up or\n" +
			"down alone 1 / active, with a perfect predictor in place of the gate 1 / (predictor + active).",
		Example: "  credence bench ffn --d 4096 --dff 11008 --dtype bf16 --sparsity .89 --threads 1",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if err := checkDestination("--plot", o.plot); err != nil {
				return err
			}
			rt, err := runtime.Open(s.options()...)
			if err != nil {
				return err
			}
			defer rt.Close()
			if o.cpuTime && rt.Config().Threads != 1 {
				return errors.New("--cpu-time counts the calling thread only; --threads 1 is needed with it")
			}
			return benchFFN(c, rt, &o)
		},
	}
	f := c.Flags()
	f.IntVar(&o.D, "d", 4096, "width of the block")
	f.IntVar(&o.DFF, "dff", 11008, "its neurons")
	f.StringVar(&o.DType, "dtype", "bf16", "type of the weights: f32, f16, bf16, q8_0 or q4_0")
	f.Float64SliceVar(&o.sparsity, "sparsity", []float64{.89}, "share of inactive neurons; several are measured one after the other")
	f.StringVar(&o.masks, "masks", "", "NPY file [n, dff] of float32 activations instead: what is not 0 is active")
	f.IntVar(&o.Layers, "layers", 6, "layers that are used in turn")
	f.IntVar(&o.Calls, "calls", 24, "timed calls of each kind")
	f.Float64Var(&o.Predictor, "predictor", .06, "size of a predictor, relative to the block, for its bound")
	f.BoolVar(&o.cpuTime, "cpu-time", false, "count processor time instead of elapsed time: for a shared machine, with one thread")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	f.StringVar(&o.plot, "plot", "", "also write a page with the times and ratios by sparsity to this file")
	return c
}

func (o *ffnSettings) check() error {
	if len(o.sparsity) == 0 {
		return errors.New("--sparsity: no value given")
	}
	if err := o.BenchOptions.Check(); err != nil {
		return err
	}
	for _, s := range o.sparsity {
		if err := (planner.FFN{Matrices: 3, Sparsity: s, Predictor: o.Predictor}).Check(); err != nil {
			return err
		}
	}
	return nil
}

// draws are the masks of each measurement.
func (o *ffnSettings) draws() ([]planner.Draw, error) {
	if o.masks != "" {
		d, err := planner.FileMasks(o.masks, o.DFF)
		return []planner.Draw{d}, err
	}
	var draws []planner.Draw
	for _, s := range o.sparsity {
		draws = append(draws, planner.RandomMasks(s))
	}
	return draws, nil
}

func benchFFN(c *cobra.Command, rt *runtime.Runtime, o *ffnSettings) error {
	config, out := rt.Config(), c.OutOrStdout()
	doc := ffnDocument{Version: runtime.Version, Device: rt.Device(), Threads: config.Threads, D: o.D, DFF: o.DFF, DType: o.DType,
		Layers: o.Layers, Calls: o.Calls, Clock: "elapsed time"}
	o.Clock = elapsed
	if o.cpuTime {
		goruntime.LockOSThread()
		defer goruntime.UnlockOSThread()
		doc.Clock, o.Clock = "processor time", processorTime
	}
	draws, err := o.draws()
	if err != nil {
		return err
	}
	b, err := planner.NewBench(rt, &o.BenchOptions)
	if err != nil {
		return err
	}
	defer b.Close()
	if !o.asJSON {
		fmt.Fprintf(out, "%s %s (%s), %d threads; %d x %d %s, %d layers of %s in turn, medians of %d calls, %s\n", doc.Device.Backend,
			doc.Device.Name, doc.Device.Arch, doc.Threads, o.D, o.DFF, o.DType, o.Layers, size(uint64(b.LayerBytes())), o.Calls, doc.Clock)
		ffnLine(out, "SPARSITY", "", "DENSE", "DENSE ROWS", "SPARSE", "RATIO", "BOUND", "OF BOUND")
	}
	for _, draw := range draws {
		r, err := b.Measure(c.Context(), draw)
		if err != nil {
			return err
		}
		doc.Results = append(doc.Results, r)
		if !o.asJSON {
			printFFN(out, r)
		}
	}
	if o.plot != "" {
		if err := ffnPage(&doc).Save(o.plot); err != nil {
			return err
		}
	}
	if o.asJSON {
		return writeJSON(out, doc)
	}
	return nil
}

// ffnPage plots times and ratios by sparsity, beside their bounds.
func ffnPage(doc *ffnDocument) *report.Page {
	var x, time, allowed, ratio, bound []float64
	for _, r := range doc.Results {
		ms := float64(r.FFN.Sparse) / 1e6
		x = append(x, 100*r.Sparsity)
		time, allowed = append(time, ms), append(allowed, float64(r.FFN.Dense)/1e6/r.Bounds.GateFirst)
		ratio, bound = append(ratio, r.FFN.Ratio), append(bound, r.Bounds.GateFirst)
	}
	return &report.Page{
		Title: "A feed-forward block by its sparsity",
		Subtitle: fmt.Sprintf("%d x %d %s, one row, %d threads, %d layers in turn, %s", doc.D, doc.DFF, doc.DType, doc.Threads, doc.Layers,
			doc.Clock),
		Facts: []report.Fact{{Name: "device", Value: doc.Device.Name + " (" + doc.Device.Arch + ")"}, {Name: "version", Value: doc.Version}},
		Blocks: []report.Block{
			report.Lines{Title: "Time of one call", XLabel: "inactive neurons, %", YLabel: "ms", FromZero: true,
				Caption: "Allowed: the time of the better dense layout over the bound of reading the gate whole.",
				Series:  []report.Series{{Name: "measured", Class: 0, X: x, Y: time}, {Name: "allowed by the bytes", Class: 1, X: x, Y: allowed}}},
			report.Lines{Title: "Speed-up over the better dense layout", XLabel: "inactive neurons, %", YLabel: "ratio", FromZero: true,
				Series: []report.Series{{Name: "measured", Class: 0, X: x, Y: ratio}, {Name: "bound", Class: 1, X: x, Y: bound}}},
		},
	}
}

var began = time.Now()

func elapsed() time.Duration { return time.Since(began) }

func printFFN(out io.Writer, r planner.Result) {
	line := func(what string, c planner.Comparison, bound float64) {
		rows := "-"
		if c.Rows > 0 {
			rows = duration(c.Rows)
		}
		ffnLine(out, fmt.Sprintf("%.2f %%", 100*r.Sparsity), what, duration(c.Transposed), rows, duration(c.Sparse),
			fmt.Sprintf("%.2f", c.Ratio), fmt.Sprintf("%.2f", bound), fmt.Sprintf("%.0f %%", 100*c.Ratio/bound))
	}
	line("block", r.FFN, r.Bounds.GateFirst)
	line("up", r.Up, r.Bounds.Steps)
	line("down", r.Down, r.Bounds.Steps)
	fmt.Fprintf(out, "%10s  %-10s a perfect predictor would allow %.2f\n", "", "", r.Bounds.Predicted)
}

func ffnLine(w io.Writer, cells ...any) {
	fmt.Fprintf(w, "%10s  %-6s %12s  %12s  %12s  %6s  %6s  %8s\n", cells...)
}
