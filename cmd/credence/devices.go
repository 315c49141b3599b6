package main

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/runtime"
	"github.com/credence-ml/credence/runtime/probe"
)

// devicesDocument is the JSON of `credence devices`.
type devicesDocument struct {
	Requested string                  `json:"requested"`
	Origin    string                  `json:"origin"`
	Chosen    *runtime.DeviceInfo     `json:"chosen"` // null: none could be opened
	Reason    string                  `json:"reason"`
	Backends  []runtime.BackendReport `json:"backends"`
	Speeds    []deviceSpeed           `json:"speeds,omitempty"` // measured now, or before where auto goes by them
	Health    probe.Health            `json:"health"`
	Probe     []runtime.Attempt       `json:"probe"` // where credence-probe was looked for
}

func newDevices(s *settings) *cobra.Command {
	var asJSON, measure bool
	c := &cobra.Command{
		Use:   "devices",
		Short: "List backends and devices, which one is chosen and why, and the health of GPUs",
		Long: "devices lists backends and devices, which one is chosen and why, and the health of GPUs.\n\n" +
			"Where auto finds a GPU, each model goes to the GPU or to the CPU by the speeds of both. They are measured when\n" +
			"the first model is placed, and kept in the user's cache directory until the machine, the driver, the backend or a\n" +
			"setting changes; --measure measures every native device anew and shows what was found.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			doc, problem := examine(c, s)
			if doc == nil {
				return problem
			}
			err := doc.addSpeeds(c.Context(), s, measure)
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(c.OutOrStdout(), doc)
			} else {
				err = doc.write(c.OutOrStdout())
			}
			if err != nil {
				return err
			}
			return problem // after the table: what was asked for cannot be had
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&measure, "measure", false, "measure the speed of every native device, less than a second each")
	return c
}

// examine looks at every backend and then opens the device that the configuration asks for. The error is that of
// opening; without a document it is one of the configuration.
func examine(c *cobra.Command, s *settings) (*devicesDocument, error) {
	all, err := runtime.Survey(s.options()...)
	if err != nil {
		return nil, err
	}
	// the warnings were logged by the line above, and the table says everything else
	quiet := append(s.options(), runtime.WithLogger(slog.New(slog.DiscardHandler)))
	doc := &devicesDocument{Requested: all.Requested, Origin: all.Origin, Backends: all.Backends}
	rt, problem := runtime.Open(quiet...)
	if problem == nil {
		r := rt.Report()
		rt.Close()
		doc.Chosen, doc.Reason = &r.Chosen, r.Reason
		doc.merge(r.Backends)
	} else {
		doc.Reason = problem.Error()
	}
	if doc.Health, doc.Probe, err = runtime.Health(c.Context(), quiet...); err != nil {
		return nil, err
	}
	return doc, problem
}

// merge adds what opening found out and listing could not: devices that are there and cannot be opened.
func (d *devicesDocument) merge(opened []runtime.BackendReport) {
	for _, o := range opened {
		for i := range d.Backends {
			b := &d.Backends[i]
			if b.Name == o.Name && b.Refused == "" {
				b.Refused = o.Refused
			}
			for k := range b.Devices {
				if v := &b.Devices[k]; v.Backend == d.Chosen.Backend && v.Index == d.Chosen.Index {
					*v = *d.Chosen // an open device knows more of itself
				}
			}
		}
	}
}

func (d *devicesDocument) write(w io.Writer) error {
	t := &table{}
	t.add("BACKEND", "DEVICE", "NAME", "KERNELS", "MEMORY FREE", "MEMORY", "UNITS", "STATE")
	for _, b := range d.Backends {
		if len(b.Devices) == 0 {
			t.add(b.Name, "", "", "", "", "", "", d.state(&b, nil))
		}
		for _, v := range b.Devices {
			units := ""
			if v.ComputeUnits > 0 {
				units = strconv.Itoa(v.ComputeUnits)
			}
			t.add(b.Name, strconv.Itoa(v.Index), v.Name, v.Arch, size(uint64(v.MemoryFree)), size(uint64(v.MemoryTotal)), units,
				d.state(&b, &v))
		}
	}
	if err := t.write(w); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nRequested: %s (%s)\n", d.Requested, d.Origin)
	if d.Chosen != nil {
		fmt.Fprintf(w, "Chosen:    %s %s: %s\n", d.Chosen.Backend, d.Chosen.Name, d.Reason)
		if d.Chosen.Detail != "" {
			fmt.Fprintf(w, "           %s\n", d.Chosen.Detail)
		}
	}
	fmt.Fprintln(w)
	if err := d.writeSpeeds(w); err != nil {
		return err
	}
	places := &table{}
	places.add("LOOKED FOR", "IN", "RESULT")
	for _, b := range d.Backends {
		for _, a := range b.Attempts {
			if a.Path == b.Path { // the one in use
				a.Reason += ": " + b.Build
			}
			places.add(a.Backend, a.Path, a.Reason)
		}
	}
	for _, a := range d.Probe {
		places.add(a.Backend, a.Path, a.Reason)
	}
	if len(places.rows) > 1 {
		if err := places.write(w); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	return writeHealth(w, &d.Health)
}

// state says in a few words whether a device is used, could be, or why not.
func (d *devicesDocument) state(b *runtime.BackendReport, v *runtime.DeviceInfo) string {
	switch {
	case v != nil && d.Chosen != nil && d.Chosen.Backend == v.Backend && d.Chosen.Index == v.Index:
		return "chosen"
	case b.Refused != "":
		return "refused: " + b.Refused
	case v == nil:
		return "has no device"
	case d.Chosen != nil && d.Requested == "auto" && d.Chosen.Backend == "cuda" && v.Backend == "cpu":
		return "usable, for models that are faster there"
	case d.Chosen != nil:
		return "usable, not needed"
	}
	return "usable, not asked for"
}

func writeHealth(w io.Writer, h *probe.Health) error {
	if !h.Known {
		fmt.Fprintln(w, "GPU health: unknown: "+h.Reason)
		return nil
	}
	fmt.Fprint(w, "GPU health: driver ", h.Driver)
	if h.CUDA != "" { // old drivers do not say
		fmt.Fprint(w, ", CUDA up to ", h.CUDA)
	}
	fmt.Fprintln(w)
	t := &table{}
	t.add("GPU", "NAME", "UUID", "CAPABILITY", "MEMORY USED", "MEMORY", "TEMPERATURE", "BUSY", "SLOWED BY", "PROCESSES", "ECC ERRORS", "MIG", "UNKNOWN")
	for _, g := range h.GPUs {
		var temperature, busy, slowed, ecc, mig string
		if g.Temperature != nil {
			temperature = fmt.Sprintf("%d °C", *g.Temperature)
		}
		if g.Utilisation != nil {
			busy = fmt.Sprintf("%d %%", g.Utilisation.GPU)
		}
		if g.Throttled != nil {
			slowed = cmp.Or(strings.Join(g.Throttled, ", "), "nothing")
		}
		switch {
		case g.ECCErrors != nil:
			ecc = fmt.Sprintf("%d corrected, %d not", g.ECCErrors.Corrected, g.ECCErrors.Uncorrected)
		case g.ECC != nil && !*g.ECC:
			ecc = "not counted: off"
		}
		if g.MIG != nil {
			mig = map[bool]string{true: "on", false: "off"}[*g.MIG]
		}
		t.add(strconv.Itoa(g.Index), g.Name, g.UUID, g.ComputeCapability, known(g.MemoryUsed), known(g.MemoryTotal), temperature,
			busy, slowed, processes(g.Processes), ecc, mig, reasons(g.Unknown))
	}
	return t.write(w)
}

// processes tells how many there are and how much memory those have that say so.
func processes(list []probe.Process) string {
	if list == nil {
		return ""
	}
	var memory uint64
	for _, p := range list {
		if p.Memory != nil {
			memory += *p.Memory
		}
	}
	if memory == 0 {
		return strconv.Itoa(len(list))
	}
	return fmt.Sprintf("%d with %s", len(list), size(memory))
}

func known(bytes *uint64) string {
	if bytes == nil {
		return ""
	}
	if *bytes == 0 {
		return "0 B"
	}
	return size(*bytes)
}

// reasons lists what could not be read, in a fixed order.
func reasons(unknown map[string]string) string {
	var list []string
	for _, field := range slices.Sorted(maps.Keys(unknown)) {
		list = append(list, field+" ("+unknown[field]+")")
	}
	return strings.Join(list, ", ")
}
