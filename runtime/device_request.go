package runtime

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A DeviceRequest is the parsed value of CREDENCE_DEVICE: which devices may be used, in order of preference.
type DeviceRequest struct {
	text    string
	choices []DeviceChoice
}

// A DeviceChoice names one device.
type DeviceChoice struct {
	Backend string // "cpu", "cuda", "go"
	Index   int    // within the backend
	UUID    string // the beginning of the vendor's identifier; empty: Index counts
}

// backendNames lists the backends, in the order that "auto" prefers.
var backendNames = []string{"cuda", "cpu", "go"}

const deviceValues = "auto, go, cpu, cuda, cuda:N, cuda:GPU-uuid-prefix, or several of these (without auto) separated by " +
	"commas, tried in order"

// uuidPrefix is what NVIDIA's tools print: GPU-8f1e..., and MIG-... for a slice of one.
var uuidPrefix = regexp.MustCompile(`^(GPU|MIG)-[0-9a-fA-F][0-9a-fA-F-]*$`)

// ParseDevice parses a value of CREDENCE_DEVICE.
func ParseDevice(text string) (DeviceRequest, error) {
	r := DeviceRequest{text: text}
	if text == "auto" {
		for _, name := range backendNames {
			r.choices = append(r.choices, DeviceChoice{Backend: name})
		}
		return r, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		c, err := parseChoice(part)
		if err != nil {
			return DeviceRequest{}, err
		}
		r.choices = append(r.choices, c)
	}
	return r, nil
}

func parseChoice(text string) (DeviceChoice, error) {
	name, which, numbered := strings.Cut(text, ":")
	c := DeviceChoice{Backend: name}
	switch {
	case text == "":
		return c, errors.New("the name of a device is empty")
	case name == "auto":
		return c, errors.New("auto stands alone")
	case !slices.Contains(backendNames, name):
		return c, fmt.Errorf("no backend is called %q", name)
	case !numbered:
		return c, nil
	case name != "cuda":
		return c, fmt.Errorf("%s has one device and takes no number", name)
	case uuidPrefix.MatchString(which):
		c.UUID = which
		return c, nil
	}
	n, err := strconv.ParseUint(which, 10, 31)
	if err != nil {
		return c, fmt.Errorf("%q is neither the number of a device nor the beginning of a UUID", which)
	}
	c.Index = int(n)
	return c, nil
}

// Choices lists the devices, best first.
func (r DeviceRequest) Choices() []DeviceChoice { return r.choices }

// Auto reports whether any device will do.
func (r DeviceRequest) Auto() bool { return r.text == "auto" }

// String is the request as it was written.
func (r DeviceRequest) String() string { return r.text }

// String is the choice as it would be written in CREDENCE_DEVICE.
func (c DeviceChoice) String() string {
	switch {
	case c.UUID != "":
		return c.Backend + ":" + c.UUID
	case c.Index != 0:
		return c.Backend + ":" + strconv.Itoa(c.Index)
	}
	return c.Backend
}
