package sparse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/credence-ml/credence/models/internal/mapped"
	"github.com/credence-ml/credence/models/internal/safetensors"
	"github.com/credence-ml/credence/models/sparse/gguf"
	"github.com/credence-ml/credence/ops"
)

// OpenOptions say what a model's files leave open.
type OpenOptions struct {
	Activation string // of the feed-forward layers, as ParseActivation reads it; "": what the files say
}

// A Checkpoint is a model's files: its configuration, and its tensors, mapped and not yet read.
type Checkpoint struct {
	Path    string
	Format  string // "safetensors", "GGUF" or "PWRI"
	Config  Config
	GGUF    *gguf.File // nil for safetensors
	tensors map[string]stored
	parts   []*mapped.File
	close   func() error
}

// stored is a tensor in a file, under the name it has there.
type stored struct {
	name   string
	dtype  ops.DType
	kind   string // the type as the format calls it
	shape  []int64
	data   []byte
	part   int
	offset int64
}

// Open reads a model's configuration and proves that its files are whole and have every tensor that the configuration
// asks for, in the right shape. path is a directory with config.json and safetensors, or a GGUF file. The tensors are
// mapped read-only: memory is taken as they are used, and shared by all that use the file.
func Open(path string, o OpenOptions) (*Checkpoint, error) {
	c, err := open(path, o)
	if err != nil {
		return nil, err
	}
	if err := c.checkTensors(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), c.Close())
	}
	return c, nil
}

func open(path string, o OpenOptions) (*Checkpoint, error) {
	var activation *ops.Activation
	if o.Activation != "" {
		a, err := ParseActivation(o.Activation)
		if err != nil {
			return nil, err
		}
		activation = &a
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return openDirectory(path, activation)
	}
	if err := refusePickle(path); err != nil {
		return nil, err
	}
	if strings.HasSuffix(path, ".safetensors") || strings.HasSuffix(path, ".json") {
		return nil, fmt.Errorf("%s: give the directory, which has config.json beside the weights", path)
	}
	return openGGUF(path, activation)
}

// Close gives the mapped files back. Models loaded from the checkpoint must be closed before.
func (c *Checkpoint) Close() error {
	c.tensors = nil
	return c.close()
}

var pickleNames = []string{".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}

// refusePickle names files of PyTorch's pickle format, by name or by how they begin.
func refusePickle(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var head [4]byte
	n, _ := io.ReadFull(f, head[:])
	if bytes.HasPrefix(head[:n], []byte("PK\x03\x04")) || n > 1 && head[0] == 0x80 && head[1] <= 5 ||
		!bytes.HasPrefix(head[:n], []byte(gguf.Magic)) && slices.Contains(pickleNames, filepath.Ext(path)) {
		return &PickleError{path}
	}
	return nil
}

// A PickleError is the refusal of a file of PyTorch's pickle format.
type PickleError struct{ Path string }

// Error says why, and what to do.
func (e *PickleError) Error() string {
	return e.Path + ": a pickle, which is a program that runs when it is read, and is refused; make it safetensors: " +
		`python -c "import torch, safetensors.torch as s; s.save_file({k: v.contiguous().clone() for k, v in torch.load('` + filepath.Base(e.Path) +
		`', weights_only=True).items()}, 'model.safetensors')"`
}

func openDirectory(dir string, activation *ops.Activation) (*Checkpoint, error) {
	file := filepath.Join(dir, "config.json")
	text, err := readSmall(file)
	if err != nil {
		return nil, err
	}
	config, err := parseConfig(text, activation)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	f, err := safetensors.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		if pickles, _ := filepath.Glob(filepath.Join(dir, "pytorch_model*.bin")); len(pickles) > 0 {
			return nil, &PickleError{pickles[0]}
		}
	}
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Path: dir, Format: "safetensors", Config: *config, tensors: map[string]stored{}, parts: f.Parts(), close: f.Close}
	types := map[safetensors.DType]ops.DType{safetensors.F32: ops.F32, safetensors.F16: ops.F16, safetensors.BF16: ops.BF16}
	for _, name := range f.Names() {
		t, err := f.Tensor(name)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		c.tensors[name] = stored{name, types[t.DType], strings.ToLower(string(t.DType)), t.Shape, t.Data, t.Part, t.Offset}
	}
	return c, nil
}

func openGGUF(path string, activation *ops.Activation) (*Checkpoint, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	config, err := configFromGGUF(f, activation)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return &Checkpoint{Path: path, Format: f.Magic, Config: *config, GGUF: f, tensors: ggufTensors(f), parts: []*mapped.File{f.Part()}, close: f.Close}, nil
}

func ggufTensors(f *gguf.File) map[string]stored {
	types := map[gguf.Type]ops.DType{gguf.F32: ops.F32, gguf.F16: ops.F16, gguf.BF16: ops.BF16, gguf.Q8_0: ops.Q8_0, gguf.Q4_0: ops.Q4_0}
	tensors := map[string]stored{}
	for _, t := range f.Tensors {
		tensors[t.Name] = stored{t.Name, types[t.Type], t.Type.String(), t.Shape, t.Data, 0, t.Offset}
	}
	return tensors
}

// readSmall reads a file that is read as a whole, within reason.
func readSmall(path string) ([]byte, error) {
	const limit = safetensors.MaxHeader
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && len(text) > limit {
		err = fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	return text, err
}
