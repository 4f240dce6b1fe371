package mutants

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The text that a mutant replaces stands exactly once in its file: told by every go test, before make mutants takes minutes to.
func TestEveryMutantHasItsPlace(t *testing.T) {
	seen := make(map[string]bool)
	for _, m := range All() {
		source, err := os.ReadFile(filepath.Join("../../..", m.File))
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(source), m.Old), "%s: %q stands not once in %s", m.Name, m.Old, m.File)
		require.False(t, seen[m.Name], "two mutants are called %q", m.Name)
		seen[m.Name] = true
	}
}
