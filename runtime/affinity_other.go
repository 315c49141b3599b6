//go:build !linux

package runtime

// affinity is the number of CPUs of the machine: only Linux says more.
func affinity() int { return runningCPUs() }
