package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"math"
	"os"
	"path/filepath"
)

// A speedKey is everything that a measured speed depends on. With another key nothing is found and the device is
// measured anew.
type speedKey struct {
	Version string `json:"version"` // of this package
	Machine string `json:"machine"` // a cache directory may be shared
	Backend string `json:"backend"`
	Build   string `json:"build"` // of the backend's library
	Device  string `json:"device"`
	UUID    string `json:"uuid,omitempty"`
	Detail  string `json:"detail"` // names driver and libraries
	Threads int    `json:"threads"`
	CPUISA  string `json:"cpu_isa"`
	Math    string `json:"math"`
}

// speedFile is the content of a file in the cache.
type speedFile struct {
	Key   speedKey `json:"key"`
	Speed Speed    `json:"speed"`
}

func (rt *Runtime) speedKey() *speedKey {
	c, d := &rt.config, rt.report.Chosen
	k := &speedKey{Version: Version, Backend: d.Backend, Device: d.Name, UUID: d.UUID, Detail: d.Detail, Threads: c.Threads,
		CPUISA: c.CPUISA, Math: c.Math}
	k.Machine, _ = os.Hostname()
	for _, b := range rt.report.Backends {
		if b.Name == d.Backend {
			k.Build = b.Build
		}
	}
	return k
}

// path is the key's file; "" where the user has no cache directory.
func (k *speedKey) path() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	text, err := json.Marshal(k)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return filepath.Join(dir, "credence", "speed-"+hex.EncodeToString(sum[:8])+".json")
}

// load is what was measured before under this key. A file that is not understood counts as none.
func (k *speedKey) load() (Speed, bool) {
	path := k.path()
	if path == "" {
		return Speed{}, false
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Speed{}, false
	}
	var f speedFile
	if json.Unmarshal(text, &f) != nil || f.Key != *k || !f.Speed.plausible() {
		return Speed{}, false
	}
	return f.Speed, true
}

// save publishes a measurement by rename. Where it cannot, the next process measures again.
func (k *speedKey) save(s Speed, log *slog.Logger) {
	if err := k.write(s); err != nil {
		log.Info("the measured speed of a device is not kept", "device", k.Device, "reason", err)
	}
}

func (k *speedKey) write(s Speed) error {
	path := k.path()
	if path == "" {
		return os.ErrNotExist
	}
	text, err := json.MarshalIndent(speedFile{*k, s}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".speed-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// plausible reports whether times can be computed from the numbers.
func (s *Speed) plausible() bool {
	for _, rate := range []float64{s.Copy, s.Memory, s.Cache, s.Product} {
		if !(rate > 0) || math.IsInf(rate, 0) {
			return false
		}
	}
	return s.Submission > 0 && s.Operation >= 0
}

// KnownSpeed is the speed of the device as it was measured before, by this or another process.
func (rt *Runtime) KnownSpeed() (Speed, bool) { return rt.speedKey().load() }

// speed is the known speed, or else that measured now.
func (rt *Runtime) speed() (Speed, error) {
	if s, ok := rt.KnownSpeed(); ok {
		return s, nil
	}
	return rt.MeasureSpeed(context.Background())
}

// speeds are those of the device and of the CPU beside it.
func (rt *Runtime) speeds() (own, cpu Speed, err error) {
	second, err := rt.onCPU()
	if err != nil {
		return own, cpu, err
	}
	if own, err = rt.speed(); err == nil {
		cpu, err = second.speed()
	}
	return own, cpu, err
}
