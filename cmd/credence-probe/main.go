// Command credence-probe prints the state of the machine's NVIDIA GPUs as one JSON document: see package
// runtime/probe, which starts it. It is a program of its own because NVML may end or hang the process that calls it.
package main

import (
	"encoding/json"
	"os"

	"github.com/credence-ml/credence/runtime/probe"
)

func main() {
	report := examine()
	report.Schema = probe.Schema
	if report.GPUs == nil {
		report.GPUs = []probe.GPU{}
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	if err := out.Encode(report); err != nil {
		os.Exit(1)
	}
}
