package runtime

import (
	"io/fs"
	"math"
	"os"
	"path"
	goruntime "runtime"
	"strconv"
	"strings"
)

// cpuBudget is how many CPUs this process may use: those of its affinity mask, or fewer where its cgroup has a quota.
// More threads than that would only take turns.
func cpuBudget() int {
	n := affinity()
	if quota := cgroupQuota(os.DirFS("/")); quota > 0 {
		n = min(n, int(math.Ceil(quota)))
	}
	return min(max(n, 1), maxThreads)
}

// cgroupQuota is the CPU time per time that the process's cgroup and those above it grant, or 0 where none limits it
// (also where there are no cgroups). Both versions are read: kernel documentation, cgroup-v2.rst ("cpu.max") and
// cgroup-v1 (cfs bandwidth control).
func cgroupQuota(root fs.FS) float64 {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	mounts, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return 0
	}
	quota := math.Inf(1)
	for line := range strings.Lines(string(groups)) {
		// "0::/user.slice" (v2) or "4:cpu,cpuacct:/docker/1234" (v1)
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		kind, read := "cgroup2", quotaV2
		if parts[1] != "" {
			if !hasWord(parts[1], "cpu") {
				continue
			}
			kind, read = "cgroup", quotaV1
		}
		for _, m := range cgroupMounts(string(mounts), kind) {
			below, ok := within(m.root, parts[2])
			if !ok {
				continue
			}
			// a limit of any group above holds too, as far up as can be seen from here
			for dir := path.Join(m.at, below); ; dir = path.Dir(dir) {
				if q := read(root, dir); q > 0 {
					quota = min(quota, q)
				}
				if dir == m.at || dir == "." || dir == "/" {
					break
				}
			}
		}
	}
	if math.IsInf(quota, 1) {
		return 0
	}
	return quota
}

func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// within is the path of group below the group that a mount shows as its root.
func within(root, group string) (string, bool) {
	if root == "/" {
		return group, true
	}
	below, ok := strings.CutPrefix(group, root)
	return below, ok && (below == "" || below[0] == '/')
}

type cgroupMount struct{ root, at string }

// cgroupMounts lists the mounted hierarchies of that kind that hold the cpu controller; proc(5) describes mountinfo.
func cgroupMounts(mountinfo, kind string) []cgroupMount {
	var mounts []cgroupMount
	for line := range strings.Lines(mountinfo) {
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		f, g := strings.Fields(left), strings.Fields(right)
		if !ok || len(f) < 5 || len(g) < 3 || g[0] != kind || kind == "cgroup" && !hasWord(g[2], "cpu") {
			continue
		}
		mounts = append(mounts, cgroupMount{root: f[3], at: strings.TrimPrefix(f[4], "/")})
	}
	return mounts
}

// quotaV2 reads "max 100000" or "150000 100000": microseconds of CPU time per period.
func quotaV2(root fs.FS, dir string) float64 {
	text, err := fs.ReadFile(root, path.Join(dir, "cpu.max"))
	f := strings.Fields(string(text))
	if err != nil || len(f) != 2 {
		return 0
	}
	return ratio(f[0], f[1])
}

// quotaV1 reads the same from two files; a quota of -1 is none.
func quotaV1(root fs.FS, dir string) float64 {
	quota, err1 := fs.ReadFile(root, path.Join(dir, "cpu.cfs_quota_us"))
	period, err2 := fs.ReadFile(root, path.Join(dir, "cpu.cfs_period_us"))
	if err1 != nil || err2 != nil {
		return 0
	}
	return ratio(strings.TrimSpace(string(quota)), strings.TrimSpace(string(period)))
}

func ratio(quota, period string) float64 {
	q, err1 := strconv.ParseFloat(quota, 64)
	p, err2 := strconv.ParseFloat(period, 64)
	if err1 != nil || err2 != nil || q <= 0 || p <= 0 {
		return 0
	}
	return q / p
}

// runningCPUs is what the Go runtime saw when it started.
func runningCPUs() int { return goruntime.NumCPU() }
