//go:build !cgo || !linux

package main

import "github.com/credence-ml/credence/runtime/probe"

func examine() probe.Report {
	return probe.Report{Error: "credence-probe was built without cgo or for a system other than Linux: it cannot ask the driver"}
}
