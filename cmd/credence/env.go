package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/runtime"
)

func newEnv(s *settings) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "env",
		Short: "List the environment variables that the runtime reads, with the values in force",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := runtime.NewConfig(s.options()...)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(c.OutOrStdout(), config.Settings())
			}
			for i, v := range config.Settings() {
				if i > 0 {
					fmt.Fprintln(c.OutOrStdout())
				}
				fmt.Fprintf(c.OutOrStdout(), "%s=%s  (%s)\n", v.Name, v.Value, v.Origin)
				for _, line := range append(wrap(v.Doc, 96), wrap("Values: "+v.Values+".", 96)...) {
					fmt.Fprintln(c.OutOrStdout(), "    "+line)
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
