package report

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a run writes below docs makes no other commit of it; a change anywhere else does.
func TestCommitBut(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	git := func(args ...string) {
		out, err := exec.Command("git", append([]string{"-c", "user.name=n", "-c", "user.email=e@example.org"}, args...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	write := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	require.Equal(t, "unknown", CommitBut("docs"))
	git("init", "-q")
	write("docs/a.svg", "1")
	write("code.go", "1")
	git("add", ".")
	git("commit", "-q", "-m", "One")
	clean := CommitBut("docs")
	require.Regexp(t, "^[0-9a-f]{7,}$", clean)
	write("docs/a.svg", "2")
	write("docs/b.svg", "new")
	t.Chdir(filepath.Join(dir, "docs")) // wherever it is asked
	require.Equal(t, clean, CommitBut("docs"))
	require.Equal(t, clean+"-dirty", Commit())
	write("code.go", "2")
	require.Equal(t, clean+"-dirty", CommitBut("docs"))
}
