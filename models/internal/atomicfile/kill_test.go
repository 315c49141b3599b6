//go:build unix

package atomicfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const saverVariable = "CREDENCE_TEST_SAVER"

// The test binary runs itself as the program that gets killed.
func TestMain(m *testing.M) {
	if path := os.Getenv(saverVariable); path != "" {
		saveForever(path)
	}
	os.Exit(m.Run())
}

// version n of the file says n, its own length, and fills the rest with a pattern of n.
func version(n uint64) []byte {
	data := bytes.Repeat([]byte{byte(n), byte(n >> 8), byte(n >> 16)}, 20_000+int(n*7919%40_000))
	binary.LittleEndian.PutUint64(data, n)
	binary.LittleEndian.PutUint64(data[8:], uint64(len(data)))
	return data
}

func parseVersion(data []byte) (uint64, error) {
	if len(data) < 16 {
		return 0, fmt.Errorf("%d bytes", len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	if !bytes.Equal(data, version(n)) {
		return 0, fmt.Errorf("%d bytes that are not version %d", len(data), n)
	}
	return n, nil
}

func saveForever(path string) {
	data, err := os.ReadFile(path)
	n := uint64(0)
	if err == nil {
		n, err = parseVersion(data)
	}
	fmt.Println("saving")
	for err == nil {
		n++
		err = WriteFile(path, version(n))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// 200 times a process that saves without a pause is killed at a random moment.
func TestKilledWritersLeaveWholeFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model")
	require.NoError(t, WriteFile(path, version(0)))
	random := rand.New(rand.NewPCG(1, 2))
	last, inTheAct := uint64(0), 0
	for range 200 {
		saver := exec.Command(os.Args[0])
		saver.Env = append(os.Environ(), saverVariable+"="+path)
		saver.Stderr = os.Stderr
		said, err := saver.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, saver.Start())
		_, err = said.Read(make([]byte, 1))
		require.NoError(t, err)
		time.Sleep(time.Duration(random.IntN(int(10 * time.Millisecond))))
		require.NoError(t, saver.Process.Kill())
		require.ErrorContains(t, saver.Wait(), "killed")

		data, err := os.ReadFile(path)
		require.NoError(t, err)
		n, err := parseVersion(data)
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, last)
		last = n
		files := names(t, dir)
		require.LessOrEqual(t, len(files), 2, "the next writer removes what the killed one left: %v", files)
		inTheAct += len(files) - 1
	}
	t.Logf("%d saves; %d of 200 kills hit a writer before its rename", last, inTheAct)
	require.Positive(t, last, "no save came through, so nothing was tested")
	require.Positive(t, inTheAct, "no kill hit a save, so nothing was tested")
}
