//go:build mutants

package mutants

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each mutant is built with an overlay, so the tree is never touched. A mutant that does not compile,
// or whose text is not there any more, is a mistake in the list, not a kill. AWACD_THIRD=0, 1 or 2 tries every third, as CI does.
func TestEveryMutantIsKilled(t *testing.T) {
	third := os.Getenv("AWACD_THIRD")
	require.Contains(t, []string{"", "0", "1", "2"}, third, "AWACD_THIRD")
	for i, m := range All() {
		if third != "" && third != strconv.Itoa(i%3) {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel() // most of them wait for a daemon
			kill(t, m)
		})
	}
}

// What the small worlds find they find every time, in the world that is named, whatever else finds it.
func TestWorldsFindMutants(t *testing.T) {
	known := make(map[string]Mutant)
	for _, m := range All() {
		known[m.Name] = m
	}
	for name, world := range FoundByWorlds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, ok := known[name]
			require.True(t, ok, "no such mutant")
			m.Package, m.Test = "./internal/testonly/sim", "^TestWorlds$/^"+strings.ReplaceAll(world, " ", "_")+"$"
			kill(t, m)
		})
	}
}

func kill(t *testing.T, m Mutant) {
	t.Helper()
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	file := filepath.Join(root, m.File)
	source, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(source), m.Old), "%q stands not once in %s", m.Old, m.File)
	dir := t.TempDir()
	mutated := filepath.Join(dir, filepath.Base(m.File))
	require.NoError(t, os.WriteFile(mutated, []byte(strings.Replace(string(source), m.Old, m.New, 1)), 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{file: mutated}})
	require.NoError(t, err)
	spec := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(spec, overlay, 0o600))

	cmd := exec.Command("go", "test", "-count=1", "-failfast", "-overlay", spec, "-run", m.Test, m.Package)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "AWACD_OVERLAY="+spec) // e2e builds the binary with it as well
	out, err := cmd.CombinedOutput()
	require.Error(t, err, "survived %s of %s:\n%s", m.Test, m.Package, out)
	require.NotContains(t, string(out), "[build failed]", "does not compile:\n%s", out)
	require.Contains(t, string(out), "--- FAIL: ", "no test failed:\n%s", out)
}
