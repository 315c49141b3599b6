package runtime

import (
	goruntime "runtime"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
)

func TestCPUBudget(t *testing.T) {
	n := cpuBudget()
	assert.GreaterOrEqual(t, n, 1)
	assert.LessOrEqual(t, n, goruntime.NumCPU())
}

func TestCgroupQuota(t *testing.T) {
	const v2 = "26 25 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	const v1 = "31 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"32 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  float64
	}{
		{"no cgroups", nil, 0},
		{"no mounts", map[string]string{"proc/self/cgroup": "0::/a\n"}, 0},
		{"v2 without a limit", map[string]string{"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": v2,
			"sys/fs/cgroup/a/cpu.max": "max 100000\n"}, 0},
		{"v2", map[string]string{"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": v2,
			"sys/fs/cgroup/a/cpu.max": "150000 100000\n"}, 1.5},
		{"v2, a tighter limit above", map[string]string{"proc/self/cgroup": "0::/a/b/c\n", "proc/self/mountinfo": v2,
			"sys/fs/cgroup/a/b/c/cpu.max": "400000 100000\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
			"sys/fs/cgroup/a/cpu.max": "250000 100000\n"}, 2.5},
		{"v2 in a container, which sees its own group as the root", map[string]string{"proc/self/cgroup": "0::/\n",
			"proc/self/mountinfo": v2, "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5},
		{"v2 mounted below its root", map[string]string{"proc/self/cgroup": "0::/pod/box\n",
			"proc/self/mountinfo":       "9 8 0:23 /pod /cg rw - cgroup2 none rw\n",
			"cg/box/cpu.max":            "300000 100000\n",
			"cg/pod/box/cpu.max":        "100000 100000\n",
			"sys/fs/cgroup/pod/cpu.max": "100000 100000\n"}, 3},
		{"v1", map[string]string{"proc/self/cgroup": "5:memory:/x\n4:cpu,cpuacct:/docker/1\n", "proc/self/mountinfo": v1,
			"sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us":  "200000\n",
			"sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000\n"}, 2},
		{"v1 without a limit", map[string]string{"proc/self/cgroup": "4:cpu,cpuacct:/docker/1\n", "proc/self/mountinfo": v1,
			"sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us":  "-1\n",
			"sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000\n"}, 0},
		{"v1, the whole machine above", map[string]string{"proc/self/cgroup": "4:cpu,cpuacct:/docker/1\n", "proc/self/mountinfo": v1,
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":  "700000\n",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, 7},
		{"nonsense", map[string]string{"proc/self/cgroup": "what\n0::/a\n", "proc/self/mountinfo": v2 + "short\n",
			"sys/fs/cgroup/a/cpu.max": "lots 100000\n"}, 0},
		{"a period of zero", map[string]string{"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": v2,
			"sys/fs/cgroup/a/cpu.max": "100000 0\n"}, 0},
	} {
		root := fstest.MapFS{}
		for name, text := range c.files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		assert.Equal(t, c.want, cgroupQuota(root), c.name)
	}
}
