package main

import (
	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/runtime"
)

func newVersion() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version and how the program was built",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			b := runtime.Build()
			if asJSON {
				return writeJSON(c.OutOrStdout(), b)
			}
			revision := b.Revision
			if revision == "" {
				revision = "unknown"
			}
			if b.Modified {
				revision += ", modified"
			}
			cgo := "with cgo"
			if !b.Cgo {
				cgo = "without cgo: the pure-Go device only"
			}
			t := &table{}
			t.add("credence", b.Version)
			t.add("revision", revision)
			t.add("backend ABI", b.ABI)
			t.add("go", b.Go+" "+b.System+", "+cgo)
			return t.write(c.OutOrStdout())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
