package runtime

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/credence-ml/credence/ops"
)

// A Placement tells on which device a model was put, and why.
type Placement struct {
	Name      string       `json:"name"`    // of the model, as it called itself
	Backend   string       `json:"backend"` // "cuda", "cpu"
	Device    string       `json:"device"`
	Reason    string       `json:"reason"`
	Memory    int64        `json:"memory"`              // bytes that it takes at most while it is made
	Predicted []Prediction `json:"predicted,omitempty"` // where speeds decided
}

// A Prediction is how long a device takes to run each of a model's plans once, at the largest arguments, by the speeds
// that were measured.
type Prediction struct {
	Backend string        `json:"backend"`
	Time    time.Duration `json:"ns"`
}

// Place chooses the device of one model among those that the runtime may use, and returns the runtime to make it on: rt
// itself, or one on another device that lives as long as rt. Report tells every choice. A model's constructor calls it
// first, so programs need not.
//
// There is something to choose only on a GPU. There rehearse makes the model on a runtime that computes nothing and
// takes no memory. What it would allocate must fit, or the error says how much is missing, and the GPU must have the
// operations that it compiles. Under CREDENCE_DEVICE=auto a model that the GPU cannot take, or that the CPU runs faster
// by the speeds measured on this machine (see MeasureSpeed), is placed on the CPU. A list of devices does not go by
// speeds: with cuda,cpu only what the GPU cannot take is placed on the CPU.
func (rt *Runtime) Place(name string, rehearse func(*Runtime) error) (*Runtime, error) {
	if rt.parent != nil || !rt.separate() {
		return rt, nil
	}
	if err := rt.enter(); err != nil {
		return nil, err
	}
	defer rt.leave()
	r, err := rt.rehearse(rehearse)
	if err != nil {
		return nil, err
	}
	rt.placing.Lock()
	defer rt.placing.Unlock()
	p := Placement{Name: name, Memory: r.peak}
	to, err := rt.place(&p, r.programs)
	if err != nil {
		return nil, err
	}
	p.Backend, p.Device = to.report.Chosen.Backend, to.report.Chosen.Name
	rt.placed = append(rt.placed, p)
	rt.config.Logger.Info("model placed", "model", name, "device", p.Device, "backend", p.Backend, "reason", p.Reason)
	return to, nil
}

// separate reports whether the device has memory of its own, and launches of its own cost: a GPU.
func (rt *Runtime) separate() bool { return rt.report.Chosen.Backend == "cuda" }

// place decides, and puts the reason into p.
func (rt *Runtime) place(p *Placement, programs []*ops.Program) (*Runtime, error) {
	refused := rt.refuses(p, programs)
	if refused != nil {
		if !slices.Contains(rt.config.Device.Choices(), DeviceChoice{Backend: "cpu"}) {
			refused.Detail += "; CREDENCE_DEVICE=cpu or auto runs it on the CPU"
			return nil, refused
		}
		other, err := rt.onCPU()
		if err != nil {
			refused.Detail += "; and there is no other device: " + reasonOf(err)
			return nil, refused
		}
		p.Reason = fmt.Sprintf("%v on %s: %s", refused.Kind, rt.report.Chosen.Name, refused.Detail)
		return other, nil
	}
	if !rt.config.Device.Auto() {
		p.Reason = "requested by " + rt.report.Origin
		return rt, nil
	}
	own, cpu, err := rt.speeds()
	if err != nil {
		p.Reason = "the CPU cannot be compared: " + reasonOf(err)
		return rt, nil
	}
	here := Prediction{rt.report.Chosen.Backend, own.predictAll(programs)}
	there := Prediction{"cpu", cpu.predictAll(programs)}
	p.Predicted = []Prediction{here, there}
	if there.Time >= here.Time {
		p.Reason = fmt.Sprintf("predicted %v here, %v on the CPU", short3(here.Time), short3(there.Time))
		return rt, nil
	}
	p.Reason = fmt.Sprintf("predicted %v here, %v on %s; CREDENCE_DEVICE=cuda overrides", short3(there.Time), short3(here.Time), rt.report.Chosen.Name)
	return rt.onCPU()
}

// refuses says why the device cannot take a model: too little memory, or an operation that it does not have. nil: it can.
func (rt *Runtime) refuses(p *Placement, programs []*ops.Program) *Error {
	if short := rt.shortage(p.Memory); short != "" {
		return &Error{Op: "place " + p.Name, Kind: ErrOutOfMemory, Detail: short}
	}
	for _, program := range programs {
		plan, err := rt.dev.openPlan(program)
		var e *Error
		switch {
		case err == nil:
			plan.close()
		case errors.As(err, &e) && e.Kind == ErrUnsupported:
			return &Error{Op: "place " + p.Name, Kind: e.Kind, Detail: e.Detail, Cause: e.Cause}
		}
	}
	return nil
}

// onCPU is the runtime beside rt on the CPU. It is opened once, and closed with rt.
func (rt *Runtime) onCPU() (*Runtime, error) {
	if rt.second != nil {
		return rt.second, nil
	}
	config := rt.config
	config.Device, _ = ParseDevice("cpu")
	dev, report, err := choose(&config)
	if err != nil {
		return nil, err
	}
	report.Requested, report.Reason = rt.report.Requested, "for models that are better off on the CPU"
	second, err := newRuntime(config, dev, report)
	if err != nil {
		return nil, err
	}
	second.parent = rt
	rt.adopt(second)
	rt.second = second
	return second, nil
}

// shortage says what is missing where so many bytes do not fit the device's memory; "" where they fit, or nobody knows.
func (rt *Runtime) shortage(bytes int64) string {
	info := rt.dev.info()
	free, of := info.MemoryFree, fmt.Sprintf("of %s are free on %s", bytesText(info.MemoryTotal), info.Name)
	if limit := rt.config.MemoryLimit; limit > 0 {
		if left := max(0, limit-rt.Allocated()); info.MemoryTotal == 0 || left < free {
			free, of = left, fmt.Sprintf("of CREDENCE_MEMORY_LIMIT, %s, are free", bytesText(limit))
		}
	} else if info.MemoryTotal == 0 {
		return ""
	}
	if bytes <= free {
		return ""
	}
	return fmt.Sprintf("%s are needed, %s %s: %s are missing", bytesText(bytes), bytesText(free), of, bytesText(bytes-free))
}

// explainMemory adds the way out to an allocation that failed on a GPU, whose backend says how much is missing.
func (rt *Runtime) explainMemory(err error) error {
	var e *Error
	if !rt.separate() || !errors.As(err, &e) || e.Kind != ErrOutOfMemory {
		return err
	}
	return &Error{Op: e.Op, Kind: e.Kind, Detail: e.Detail + "; CREDENCE_DEVICE=cpu runs in the host's memory", Cause: e.Cause}
}

// bytesText writes a size for a person.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", n)
}

// short3 keeps about three digits.
func short3(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}
