//go:build unix

package artifact

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const saverVariable = "CREDENCE_TEST_MODEL_SAVER"

// The test binary runs itself as the program that gets killed.
func TestMain(m *testing.M) {
	if path := os.Getenv(saverVariable); path != "" {
		saveForever(path)
	}
	os.Exit(m.Run())
}

// version is which model of saveForever this is; an error if its parts come from more than one.
func version(a *Artifact) (n uint64, err error) {
	if _, err := fmt.Sscanf(a.ID, "model %d", &n); err != nil {
		return 0, err
	}
	want := sample(n)
	for i, w := range want.weights() {
		if got := *a.weights()[i]; fmt.Sprint(got) != fmt.Sprint(*w) {
			return 0, fmt.Errorf("model %d with the weights of another", n)
		}
	}
	if fmt.Sprint(a.Support) != fmt.Sprint(want.Support) {
		return 0, fmt.Errorf("model %d with the support of another", n)
	}
	return n, nil
}

func saveForever(path string) {
	a, err := Read(path)
	n := uint64(0)
	if err == nil {
		n, err = version(a)
	}
	fmt.Println("saving")
	for err == nil {
		n++
		err = sample(n).Write(path)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// Again and again a process that replaces a model without a pause is killed at a random moment.
func TestKilledWritersLeaveWholeModels(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "x.sdmkitmodel")
	require.NoError(t, sample(0).Write(path))
	random := rand.New(rand.NewPCG(1, 2))
	last, inTheAct := uint64(0), 0
	for range rounds {
		saver := exec.Command(os.Args[0])
		saver.Env = append(os.Environ(), saverVariable+"="+path)
		saver.Stderr = os.Stderr
		said, err := saver.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, saver.Start())
		_, err = said.Read(make([]byte, 1))
		require.NoError(t, err)
		time.Sleep(time.Duration(random.IntN(int(40 * time.Millisecond))))
		require.NoError(t, saver.Process.Kill())
		require.ErrorContains(t, saver.Wait(), "killed")

		a, err := Read(path)
		require.NoError(t, err)
		n, err := version(a)
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, last)
		last = n
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.LessOrEqual(t, len(entries), 2, "the next writer removes what the killed one left")
		inTheAct += len(entries) - 1
	}
	t.Logf("%d saves; %d of %d kills hit a writer before it was done", last, inTheAct, rounds)
	require.Positive(t, last, "no save came through, so nothing was tested")
	require.Positive(t, inTheAct, "no kill hit a save, so nothing was tested")
}
