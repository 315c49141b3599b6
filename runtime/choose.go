package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/credence-ml/credence/bindings"
	"github.com/credence-ml/credence/bindings/hostblas"
)

// A Report tells how the device was chosen: what `credence devices` prints.
type Report struct {
	Requested  string          `json:"requested"`
	Origin     string          `json:"origin"` // where the request came from: option, environment, default
	Chosen     DeviceInfo      `json:"chosen"`
	Reason     string          `json:"reason"`
	Backends   []BackendReport `json:"backends"`
	Placements []Placement     `json:"placements,omitempty"` // of models: see Place
}

// BackendReport is one backend: where it was looked for, what it has.
type BackendReport struct {
	Name     string       `json:"name"`
	Path     string       `json:"path,omitempty"`  // of the library in use
	Build    string       `json:"build,omitempty"` // what the library says of itself
	Attempts []Attempt    `json:"attempts,omitempty"`
	Devices  []DeviceInfo `json:"devices,omitempty"`
	Refused  string       `json:"refused,omitempty"` // why it cannot be used; empty if it can
}

// libraries keeps every library loaded, since none is ever unloaded.
var libraries struct {
	sync.Mutex
	byPath map[string]*bindings.Library
}

// Survey looks for every backend and lists its devices without opening any. An unusable configuration is an error.
func Survey(options ...Option) (Report, error) {
	config, err := NewConfig(options...)
	if err != nil {
		return Report{}, err
	}
	r := newReport(&config)
	for _, name := range backendNames {
		r.Backends = append(r.Backends, *survey(&config, name))
	}
	return r, nil
}

func newReport(c *Config) Report {
	return Report{Requested: c.Device.String(), Origin: c.Origin("CREDENCE_DEVICE")}
}

// survey finds one backend and lists its devices.
func survey(c *Config, name string) *BackendReport {
	b, library := find(c, name)
	if library == nil {
		return b
	}
	n, err := library.DeviceCount()
	if err != nil {
		b.Refused = reasonOf(err)
		return b
	}
	for i := range n {
		info, err := library.Info(i)
		if err != nil {
			b.Refused = reasonOf(err)
			return b
		}
		b.Devices = append(b.Devices, infoOf(name, info))
	}
	return b
}

// find loads a backend's library, recording every place that was tried.
func find(c *Config, name string) (*BackendReport, *bindings.Library) {
	b := &BackendReport{Name: name}
	if name == "go" {
		b.Devices = []DeviceInfo{goDevice{}.info()}
		return b, nil
	}
	if !bindings.Native {
		b.Refused = bindings.ErrNoCgo.Error()
		return b, nil
	}
	libraries.Lock()
	defer libraries.Unlock()
	broken := "" // a library that is there and broken is more telling than those that are not
	for _, path := range searchPaths(c, "libcredence_"+name+".so") {
		library := libraries.byPath[path]
		if library == nil {
			var err error
			if library, err = bindings.Load(path); err == nil && library.Name != name {
				err = fmt.Errorf("it is the backend %q, whatever the file is called", library.Name)
			}
			if err != nil {
				b.Attempts = append(b.Attempts, Attempt{Backend: name, Path: path, Reason: reasonOf(err)})
				if broken == "" && !errors.Is(err, fs.ErrNotExist) {
					broken = path + ": " + reasonOf(err)
				}
				continue
			}
			if libraries.byPath == nil {
				libraries.byPath = map[string]*bindings.Library{}
			}
			libraries.byPath[path] = library
		}
		b.Attempts = append(b.Attempts, Attempt{Backend: name, Path: path, Reason: "loaded"})
		b.Path, b.Build = path, library.Build
		return b, library
	}
	if b.Refused = broken; broken == "" {
		b.Refused = fmt.Sprintf("libcredence_%s.so is in none of the %d places where it is looked for", name, len(b.Attempts))
	}
	return b, nil
}

// choose opens the first device that the request admits.
func choose(c *Config) (device, Report, error) {
	report := newReport(c)
	var passed []string
	for _, want := range c.Device.Choices() {
		b := survey(c, want.Backend)
		report.Backends = append(report.Backends, *b)
		d, err := open(c, want, b)
		if err != nil {
			passed = append(passed, want.String()+": "+reasonOf(err))
			report.Backends[len(report.Backends)-1].Refused = reasonOf(err)
			continue
		}
		report.Chosen = d.info()
		switch {
		case len(passed) > 0:
			report.Reason = "first usable of " + c.Device.String() + "; passed over " + strings.Join(passed, "; ")
		case c.Device.Auto():
			report.Reason = "best device present"
		default:
			report.Reason = "requested by " + report.Origin
		}
		if c.Device.Auto() && want.Backend == "go" {
			c.Logger.Warn("no native device could be used; the pure-Go reference is slow", "reason", strings.Join(passed, "; "))
		} else {
			c.Logger.Info("device chosen", "device", report.Chosen.Name, "backend", want.Backend, "reason", report.Reason)
		}
		if !c.NoHostBLAS {
			hostblas.Register()
		}
		return d, report, nil
	}
	kind := ErrNoDevice
	return nil, report, newError("open device "+c.Device.String(), kind, strings.Join(passed, "; ")+"; available: "+available(c, &report))
}

// open opens the device that one choice names.
func open(c *Config, want DeviceChoice, b *BackendReport) (device, error) {
	if want.Backend == "go" {
		return goDevice{}, nil
	}
	if b.Refused != "" {
		return nil, errors.New(b.Refused)
	}
	index := want.Index
	if want.UUID != "" {
		index = -1
		for _, d := range b.Devices {
			if strings.HasPrefix(strings.ToLower(d.UUID), strings.ToLower(want.UUID)) {
				index = d.Index
				break
			}
		}
		if index < 0 {
			return nil, fmt.Errorf("no device's UUID begins with %s", want.UUID)
		}
	}
	if index >= len(b.Devices) {
		return nil, fmt.Errorf("device %d was asked for, there are %d", index, len(b.Devices))
	}
	libraries.Lock()
	library := libraries.byPath[b.Path]
	libraries.Unlock()
	d, err := library.OpenDevice(index, c.Threads)
	if err != nil {
		return nil, err
	}
	options := [][2]string{{"math", c.Math}}
	switch {
	case want.Backend == "cpu":
		options = append(options, [2]string{"cpu_isa", c.CPUISA})
	case want.Backend == "cuda" && c.NoGraphs:
		options = append(options, [2]string{"graphs", "off"})
	}
	for _, option := range options {
		if err := d.SetOption(option[0], option[1]); err != nil {
			d.Close()
			return nil, err
		}
	}
	return &nativeDevice{backend: want.Backend, d: d}, nil
}

// available names what could be used instead.
func available(c *Config, r *Report) string {
	var names []string
	for _, name := range backendNames {
		var b *BackendReport
		for i := range r.Backends {
			if r.Backends[i].Name == name {
				b = &r.Backends[i]
			}
		}
		if b == nil {
			b = survey(c, name)
		}
		if b.Refused == "" && len(b.Devices) > 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// reasonOf is the shortest true reason of an error: the backend's own words.
func reasonOf(err error) string {
	var native *bindings.Error
	if errors.As(err, &native) && native.Message != "" {
		return native.Message
	}
	var load *bindings.LoadError
	if errors.As(err, &load) {
		return load.Err.Error()
	}
	return err.Error()
}
