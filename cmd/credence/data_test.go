package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
