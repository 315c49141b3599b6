package main

import "github.com/spf13/cobra"

func newBench(s *settings) *cobra.Command {
	c := group(&cobra.Command{Use: "bench", Short: "Measure the speed of this machine"})
	c.AddCommand(newBenchOps(s), newBenchFFN(s))
	return c
}
