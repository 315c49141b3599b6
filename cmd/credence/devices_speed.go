package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/credence-ml/credence/runtime"
)

// deviceSpeed is what is known of one device.
type deviceSpeed struct {
	Device string `json:"device"` // as in CREDENCE_DEVICE
	runtime.Speed
}

// addSpeeds measures the native devices that can be used. Without measure it adds what is known of them already, where
// models are placed by it.
func (d *devicesDocument) addSpeeds(ctx context.Context, s *settings, measure bool) error {
	if !measure && (d.Chosen == nil || d.Chosen.Backend != "cuda" || d.Requested != "auto") {
		return nil
	}
	for _, b := range d.Backends {
		for _, v := range b.Devices {
			if b.Refused != "" || b.Name == "go" {
				continue
			}
			name := runtime.DeviceChoice{Backend: v.Backend, Index: v.Index}.String()
			known, err := speedOf(ctx, s, name, measure)
			if err != nil {
				return err
			}
			if known != nil {
				d.Speeds = append(d.Speeds, deviceSpeed{name, *known})
			}
		}
	}
	return nil
}

// speedOf is nil where a device was never measured and is not to be.
func speedOf(ctx context.Context, s *settings, device string, measure bool) (*runtime.Speed, error) {
	rt, err := runtime.Open(append(s.options(), runtime.WithDevice(device), runtime.WithLogger(slog.New(slog.DiscardHandler)))...)
	if err != nil {
		return nil, err
	}
	defer rt.Close()
	if measure {
		speed, err := rt.MeasureSpeed(ctx)
		return &speed, err
	}
	if speed, ok := rt.KnownSpeed(); ok {
		return &speed, nil
	}
	return nil, nil
}

func (d *devicesDocument) writeSpeeds(w io.Writer) error {
	if len(d.Speeds) == 0 {
		return nil
	}
	t := &table{}
	t.add("MEASURED", "SUBMISSION", "FURTHER OPERATION", "COPIES GB/s", "MEMORY GB/s", "CACHE GB/s", "PRODUCTS GFLOP/s")
	giga := func(v float64) string { return fmt.Sprintf("%.1f", v/1e9) }
	for _, s := range d.Speeds {
		t.add(s.Device, duration(s.Submission), duration(s.Operation), giga(s.Copy), giga(s.Memory), giga(s.Cache), giga(s.Product))
	}
	if err := t.write(w); err != nil {
		return err
	}
	var cpu *deviceSpeed
	for i := range d.Speeds {
		if d.Speeds[i].Device == "cpu" {
			cpu = &d.Speeds[i]
		}
	}
	for i := range d.Speeds {
		s := &d.Speeds[i]
		if cpu == nil || s == cpu {
			continue
		}
		if n := runtime.Crossover(s.Speed, cpu.Speed); n > 0 {
			fmt.Fprintf(w, "%s pays from about %d x %d: a layer of so many weights, on as many rows that come from the host\n", s.Device, n, n)
		} else {
			fmt.Fprintf(w, "%s does not pay: no layer of up to 4096 x 4096 weights is faster there\n", s.Device)
		}
	}
	fmt.Fprintln(w)
	return nil
}
