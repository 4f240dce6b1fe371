package report

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestField(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cpuinfo")
	require.NoError(t, os.WriteFile(file, []byte("model\t\t: 85\nmodel name\t: Brand: the fast one\nmodel name\t: another\nno colon\n"), 0o600))
	require.Equal(t, "85", field(file, "model"), "a name that begins another is not taken for it")
	require.Equal(t, "Brand: the fast one", field(file, "model name"), "the first line, and all of it")
	require.Empty(t, field(file, "no colon"))
	require.Empty(t, field(file+" of another kernel", "model"))
}

// A report from an unpacked archive says that it does not know its commit; it is no reason to write none.
func TestCommitWithoutARepository(t *testing.T) {
	t.Setenv("GIT_CEILING_DIRECTORIES", os.TempDir())
	t.Chdir(t.TempDir())
	require.Equal(t, "unknown", Commit())
}
