package runtime

import "golang.org/x/sys/unix"

// affinity is the number of CPUs that this process is allowed to run on now.
func affinity() int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil { // more than 1024 CPUs do not fit into the set
		return runningCPUs()
	}
	return set.Count()
}
