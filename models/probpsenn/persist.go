package probpsenn

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/internal/safetensors"
	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// A model and a checkpoint are one safetensors file each; the metadata says which.
const (
	modelFormat      = "credence.prob-psenn"
	checkpointFormat = "credence.prob-psenn.checkpoint"
	formatVersion    = "1"
	maxModelBytes    = 4 << 30
)

// Save writes the model, with its calibration, to one safetensors file, published by rename.
func (m *Model) Save(path string) error {
	metadata, err := encodeMetadata(modelFormat, map[string]any{"config": m.Config, "calibration": m.Calibration,
		"history": m.History, "examples": m.Examples})
	if err != nil {
		return err
	}
	tensors, err := collect("", m.params, m.stats)
	if err != nil {
		return err
	}
	if err := safetensors.Write(path, tensors, metadata); err != nil {
		return fmt.Errorf("prob-psenn: save: %w", err)
	}
	return nil
}

// Load reads a model that Save wrote.
func Load(rt *runtime.Runtime, path string) (*Model, error) {
	f, err := safetensors.Load(path, maxModelBytes)
	if err != nil {
		return nil, fmt.Errorf("prob-psenn: %w", err)
	}
	defer f.Close()
	var c Config
	var calibration *Calibration
	var history []EpochStats
	var examples *Examples
	err = decodeMetadata(f, modelFormat, map[string]any{"config": &c, "calibration": &calibration, "history": &history,
		"examples": &examples})
	if err != nil {
		return nil, fmt.Errorf("prob-psenn: %s: %w", path, err)
	}
	m, err := declareModel(rt, c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	// Only once the tensors are there as the configuration has it is memory taken on its word.
	if err = fits(f, "", m.declared.params, m.declared.stats); err == nil {
		err = extraTensors(f, len(m.declared.params.Vars())+len(m.declared.stats.Vars()))
	}
	if err == nil && calibration != nil {
		err = calibration.check(&c)
	}
	if err == nil && examples != nil {
		err = examples.check(&c)
	}
	if err == nil {
		err = m.place(false)
	}
	if err == nil {
		if err = m.allocate(); err == nil {
			err = restore(f, "", m.params, m.stats)
		}
	}
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("prob-psenn: %s: %w", path, err)
	}
	m.Calibration, m.History, m.Examples = calibration, history, examples
	return m, nil
}

func encodeMetadata(format string, values map[string]any) (map[string]string, error) {
	metadata := map[string]string{"format": format, "version": formatVersion}
	for key, v := range values {
		text, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("prob-psenn: %s: %w", key, err)
		}
		metadata[key] = string(text)
	}
	return metadata, nil
}

// decodeMetadata fills values from the file's metadata, whose format must be the one given.
func decodeMetadata(f *safetensors.File, format string, values map[string]any) error {
	metadata := f.Metadata()
	switch {
	case metadata["format"] == "":
		return errors.New("a safetensors file, but not of a Prob-PSENN model: its metadata names no format")
	case metadata["format"] != format:
		return fmt.Errorf("holds %q, not %q", metadata["format"], format)
	case metadata["version"] != formatVersion:
		return fmt.Errorf("format version %q; this program reads %q", metadata["version"], formatVersion)
	}
	for key, v := range values {
		text, ok := metadata[key]
		if !ok {
			return fmt.Errorf("metadata %q is missing", key)
		}
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		err := d.Decode(v)
		if _, end := d.Token(); err == nil && end != io.EOF {
			err = errors.New("something follows the value")
		}
		if err != nil {
			return fmt.Errorf("metadata %q: %w", key, err)
		}
	}
	return nil
}

// collect copies the variables of segments into tensors named prefix + name.
func collect(prefix string, memories ...*runtime.Memory) ([]safetensors.Tensor, error) {
	var tensors []safetensors.Tensor
	for _, m := range memories {
		for _, v := range m.Segment.Vars() {
			values := make([]float32, v.Count())
			if err := m.Read(v, values); err != nil {
				return nil, err
			}
			tensors = append(tensors, safetensors.New(prefix+v.Name, v.Dims, values))
		}
	}
	return tensors, nil
}

// fits proves that the file has a tensor of the right shape for every variable of the segments.
func fits(f *safetensors.File, prefix string, segments ...*ops.Segment) error {
	for _, s := range segments {
		for _, v := range s.Vars() {
			t, err := f.Tensor(prefix + v.Name)
			if err != nil {
				return err
			}
			if t.DType != safetensors.F32 || !slices.Equal(t.Shape, v.Dims) {
				return fmt.Errorf("tensor %s is %v%v; the configuration makes it F32%v", t.Name, t.DType, t.Shape, v.Dims)
			}
		}
	}
	return nil
}

// restore fills the variables of segments from tensors named prefix + name.
func restore(f *safetensors.File, prefix string, memories ...*runtime.Memory) error {
	for _, m := range memories {
		if err := fits(f, prefix, m.Segment); err != nil {
			return err
		}
		for _, v := range m.Segment.Vars() {
			values, err := finite(f, prefix+v.Name)
			if err == nil {
				err = m.Write(v, values)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// finite reads a float32 tensor.
func finite(f *safetensors.File, name string) ([]float32, error) {
	t, err := f.Tensor(name)
	if err != nil {
		return nil, err
	}
	values, err := t.Float32s()
	if err != nil {
		return nil, err
	}
	for i, x := range values {
		if x != x || math.IsInf(float64(x), 0) {
			return nil, fmt.Errorf("tensor %s: element %d is %v", name, i, x)
		}
	}
	return values, nil
}

func extraTensors(f *safetensors.File, expected int) error {
	if n := len(f.Names()); n != expected {
		return fmt.Errorf("%d tensors; the configuration has %d", n, expected)
	}
	return nil
}

// state is what a checkpoint keeps beside the tensors.
type state struct {
	Position  position     `json:"position"`
	Step      int64        `json:"step"`
	AdamSteps int64        `json:"adam_steps"`
	History   []EpochStats `json:"history"`
	Data      string       `json:"data"` // digest of the training inputs and labels
}

// check proves that a state read from a file is one that training on so many rows passes through.
func (s *state) check(c *Config, rows int) error {
	epochs := map[string]int{"pretrain": c.PretrainEpochs, "fit": 0, "joint": c.Epochs, "calibrate": 0}
	last, ok := epochs[s.Position.Phase]
	batches := (rows + c.Batch - 1) / c.Batch
	steps := int64(batches) * int64(c.PretrainEpochs+c.Epochs)
	p := s.Position
	if !ok || p.Epoch < 0 || p.Epoch > last || p.Batch < 0 || p.Batch >= max(batches, 1) || p.Epoch == last && p.Batch > 0 ||
		s.Step < 0 || s.Step > steps || s.AdamSteps < 0 || s.AdamSteps > s.Step {
		return fmt.Errorf("phase %q, epoch %d, batch %d, step %d (%d of Adam) is nowhere in a training of %d and %d epochs with %d batches",
			p.Phase, p.Epoch, p.Batch, s.Step, s.AdamSteps, c.PretrainEpochs, c.Epochs, batches)
	}
	return nil
}

// saveAt writes a checkpoint that goes on at the given position.
func (r *run) saveAt(at position) error {
	if r.o.Checkpoint == "" {
		return nil
	}
	t := r.t
	metadata, err := encodeMetadata(checkpointFormat, map[string]any{"config": t.m.Config,
		"state": state{at, t.step, t.adam.Steps, t.m.History, r.digest()}})
	if err != nil {
		return err
	}
	tensors, err := collect("", t.m.params, t.m.stats)
	for i, moments := range t.adam.Memory[2:] {
		var more []safetensors.Tensor
		if err == nil {
			more, err = collect("moments"+strconv.Itoa(i+1)+"/", moments)
		}
		tensors = append(tensors, more...)
	}
	if err == nil {
		err = safetensors.Write(r.o.Checkpoint, tensors, metadata)
	}
	if err != nil {
		return fmt.Errorf("prob-psenn: checkpoint: %w", err)
	}
	return nil
}

// resume takes up a checkpoint, which must be of the same configuration and data.
func (r *run) resume(path string) error {
	f, err := safetensors.Load(path, maxModelBytes)
	if err != nil {
		return fmt.Errorf("prob-psenn: resume: %w", err)
	}
	defer f.Close()
	var c Config
	var s state
	t := r.t
	err = decodeMetadata(f, checkpointFormat, map[string]any{"config": &c, "state": &s})
	if err == nil {
		have, _ := json.Marshal(c)
		want, _ := json.Marshal(t.m.Config)
		switch {
		case !bytes.Equal(have, want):
			err = fmt.Errorf("the checkpoint was made with the configuration %s, this run has %s", have, want)
		case s.Data != r.digest():
			err = errors.New("the checkpoint was made on other training data")
		default:
			err = s.check(&c, r.train.N)
		}
	}
	if err == nil {
		err = extraTensors(f, 3*len(t.m.declared.params.Vars())+len(t.m.declared.stats.Vars()))
	}
	if err == nil {
		err = restore(f, "", t.m.params, t.m.stats)
	}
	for i, moments := range t.adam.Memory[2:] {
		if err == nil {
			err = restore(f, "moments"+strconv.Itoa(i+1)+"/", moments)
		}
	}
	if err != nil {
		return fmt.Errorf("prob-psenn: resume %s: %w", path, err)
	}
	r.at, t.step, t.adam.Steps, t.m.History = s.Position, s.Step, s.AdamSteps, s.History
	return nil
}

// digest identifies the training data.
func (r *run) digest() string {
	if r.dataDigest == "" {
		r.dataDigest = digestOf(r.train)
	}
	return r.dataDigest
}

func digestOf(images *data.Images) string {
	h := sha256.New()
	buffer := make([]byte, 0, 1<<16)
	for i, x := range images.Pixels {
		buffer = binary.LittleEndian.AppendUint32(buffer, math.Float32bits(x))
		if len(buffer) == cap(buffer) || i == len(images.Pixels)-1 {
			h.Write(buffer)
			buffer = buffer[:0]
		}
	}
	for _, l := range images.Labels {
		buffer = binary.LittleEndian.AppendUint32(buffer, uint32(l))
	}
	h.Write(buffer)
	return hex.EncodeToString(h.Sum(nil))
}
