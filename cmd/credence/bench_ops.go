package main

import (
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/runtime"
)

// benchDocument is the JSON of `credence bench ops`.
type benchDocument struct {
	Version string             `json:"version"`
	Device  runtime.DeviceInfo `json:"device"`
	Threads int                `json:"threads"`
	Math    string             `json:"math"`
	Timings []benchTiming      `json:"timings"`
}

type benchTiming struct {
	runtime.OpTiming
	GBPerSecond    float64 `json:"gb_per_second"`
	GFLOPPerSecond float64 `json:"gflop_per_second,omitempty"`
}

func newBenchOps(s *settings) *cobra.Command {
	var asJSON bool
	var filter string
	var each time.Duration
	c := &cobra.Command{
		Use:   "ops",
		Short: "Time every operation on the chosen device",
		Long: "ops times the large cases of every operation, each alone in a plan, from submission to the end.\n" +
			"GB/s counts each element of each tensor once (10^9 bytes), GFLOP/s a multiplication and an\n" +
			"addition for every product of the textbook algorithm.",
		Example: "  credence bench ops --filter '^matmul/' --device cpu",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			match, err := regexp.Compile(filter)
			if err != nil {
				return fmt.Errorf("--filter: %w", err)
			}
			if each <= 0 {
				return fmt.Errorf("--time %v: want more than 0", each)
			}
			rt, err := runtime.Open(s.options()...)
			if err != nil {
				return err
			}
			defer rt.Close()
			return benchOps(c, rt, match, each, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringVar(&filter, "filter", "", "only cases whose name, \"op/case\", matches this regular expression")
	c.Flags().DurationVar(&each, "time", 300*time.Millisecond, "how long to repeat each case")
	return c
}

func benchOps(c *cobra.Command, rt *runtime.Runtime, match *regexp.Regexp, each time.Duration, asJSON bool) error {
	config := rt.Config()
	doc := benchDocument{Version: runtime.Version, Device: rt.Device(), Threads: config.Threads, Math: config.Math,
		Timings: []benchTiming{}}
	out := c.OutOrStdout()
	err := rt.TimeOps(c.Context(), match.MatchString, each, func(t runtime.OpTiming) {
		b := benchTiming{OpTiming: t}
		if t.Skipped == "" {
			b.GBPerSecond, b.GFLOPPerSecond = t.GBPerSecond(), t.GFLOPPerSecond()
		}
		if !asJSON && len(doc.Timings) == 0 {
			fmt.Fprintf(out, "%s %s (%s), %d threads, %s math\n\n", doc.Device.Backend, doc.Device.Name, doc.Device.Arch,
				doc.Threads, doc.Math)
			benchLine(out, "OPERATION", "MEDIAN", "FASTEST", "GB/s", "GFLOP/s", "RUNS")
		}
		doc.Timings = append(doc.Timings, b)
		switch {
		case asJSON:
		case t.Skipped != "":
			fmt.Fprintf(out, "%-56s  skipped: %s\n", t.Name(), t.Skipped)
		default:
			flops := "-"
			if t.Flops > 0 {
				flops = fmt.Sprintf("%.1f", b.GFLOPPerSecond)
			}
			benchLine(out, t.Name(), duration(t.Median), duration(t.Fastest), fmt.Sprintf("%.2f", b.GBPerSecond), flops,
				fmt.Sprint(t.Runs))
		}
	})
	if err != nil {
		return err
	}
	if len(doc.Timings) == 0 {
		return fmt.Errorf("no case's name matches %q", match)
	}
	if asJSON {
		return writeJSON(out, doc)
	}
	return nil
}

// benchLine prints one row as soon as it is known: a table aligned afterwards would stay dark for minutes.
func benchLine(w io.Writer, name, median, fastest, bandwidth, flops, runs string) {
	fmt.Fprintf(w, "%-56s  %10s  %10s  %8s  %8s  %6s\n", name, median, fastest, bandwidth, flops, runs)
}

// duration has four significant digits, in the unit that fits.
func duration(d time.Duration) string {
	switch {
	case d < 10*time.Microsecond:
		return fmt.Sprintf("%.3f µs", float64(d)/1e3)
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f µs", float64(d)/1e3)
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
