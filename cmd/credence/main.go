// Command credence shows what the runtime finds on this machine and measures it.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/runtime"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run executes a command line and returns the exit status: 0, or 1 after one line on stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(stderr, "credence: "+strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
		return 1
	}
	return 0
}

// settings are the flags that every command understands; they become options of the runtime.
type settings struct{ device, backendDir, threads string }

func (s *settings) options() []runtime.Option {
	var options []runtime.Option
	for _, v := range [][2]string{{"CREDENCE_DEVICE", s.device}, {"CREDENCE_BACKEND_DIR", s.backendDir},
		{"CREDENCE_THREADS", s.threads}} {
		if v[1] != "" {
			options = append(options, runtime.WithVariable(v[0], v[1]))
		}
	}
	return options
}

func newRoot() *cobra.Command {
	s := &settings{}
	root := group(&cobra.Command{
		Use:   "credence",
		Short: "Look at and measure the Credence runtime on this machine",
		Long: "credence shows what the Credence runtime finds on this machine and measures it.\n\n" +
			"The environment steers it too: see `credence env`.",
		SilenceUsage:  true, // an error is one line, not a page
		SilenceErrors: true, // main prints it
	})
	flags := root.PersistentFlags()
	flags.StringVar(&s.device, "device", "", "device to run on, instead of CREDENCE_DEVICE")
	flags.StringVar(&s.backendDir, "backend-dir", "", "where backends are looked for first, instead of CREDENCE_BACKEND_DIR")
	flags.StringVar(&s.threads, "threads", "", "CPU threads, instead of CREDENCE_THREADS")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w (see %s --help)", err, c.CommandPath())
	})
	root.AddCommand(newTrain(s), newEvaluate(s), newPredict(s), newExplain(s), newReport(s), newFeatures(s), newSDM(s), newLM(s), newDataCommand(), newDevices(s), newEnv(s), newVersion(), newBench(s))
	return root
}

// group makes a command that only has commands below it: alone it prints its help, with an unknown name it says so.
func group(c *cobra.Command) *cobra.Command {
	c.Args = cobra.ArbitraryArgs
	c.SuggestionsMinimumDistance = 2
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		hint := ""
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return fmt.Errorf("%s has no command %q%s (see %s --help)", c.CommandPath(), args[0], hint, c.CommandPath())
	}
	return c
}

// noArguments refuses arguments.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments, %q was given", c.CommandPath(), args[0])
	}
	return nil
}
