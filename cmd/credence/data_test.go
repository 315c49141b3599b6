package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/data"
)

func runData(t *testing.T, args ...string) (string, error) {
	command := newDataCommand()
	var out bytes.Buffer
	command.SetOut(&out)
	command.SetErr(&out)
	command.SilenceUsage = true
	command.SetArgs(args)
	err := command.ExecuteContext(t.Context())
	return out.String(), err
}

func TestDataCommand(t *testing.T) {
	text, err := runData(t, "--help")
	require.NoError(t, err)
	assert.Contains(t, text, "data mnist|fashion-mnist --out DIR")
	assert.Contains(t, text, "fashion-mnist  Fashion-MNIST, pictures")
	_, err = runData(t)
	assert.Error(t, err)
	_, err = runData(t, "mnist")
	assert.ErrorContains(t, err, `required flag(s) "out" not set`)
	_, err = runData(t, "imagenet", "--out", "x")
	assert.EqualError(t, err, `data set "imagenet": want one of mnist, fashion-mnist`)

	t.Setenv("PATH", t.TempDir())
	out := filepath.Join(t.TempDir(), "digits")
	text, err = runData(t, "mnist", "--out", out)
	assert.ErrorContains(t, err, "the program go is not installed here")
	assert.ErrorContains(t, err, "By hand: ")
	assert.Contains(t, text, "mnist: asking the go command for ")
	assert.NoDirExists(t, out)
}

func TestDataVary(t *testing.T) {
	dir := t.TempDir()
	im := &data.Images{N: 1, Height: 2, Width: 2, Channels: 1, Pixels: []float32{-1, 1, -1, -1}, Labels: []int32{4}}
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	require.NoError(t, im.SaveDirectory(from))
	text, err := runData(t, "vary", "--data", from, "--out", to, "--turn", "90")
	require.NoError(t, err)
	assert.Contains(t, text, "1 pictures of ")
	turned, err := data.LoadDirectory(to, "test")
	require.NoError(t, err)
	assert.Equal(t, []float32{1, -1, -1, -1}, turned.Pixels)
	assert.Equal(t, im.Labels, turned.Labels)

	missing := filepath.Join(dir, "missing")
	for wants, args := range map[string][]string{
		"--data and --out are needed":     {"--data", from, "--turn", "90"},
		"a turn in degrees or":            {"--data", from, "--out", missing},
		"--turn NaN":                      {"--data", from, "--out", missing, "--turn", "NaN"},
		"--noise -1":                      {"--data", from, "--out", missing, "--noise", "-1"},
		"no such file":                    {"--data", missing, "--out", missing, "--noise", "1"},
		`split "dev": want train or test`: {"--data", from, "--out", missing, "--noise", "1", "--split", "dev"},
	} {
		_, err := runData(t, append([]string{"vary"}, args...)...)
		assert.ErrorContains(t, err, wants)
		assert.NoDirExists(t, missing)
	}
}
