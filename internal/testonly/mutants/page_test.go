package mutants

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/reports/mutants.md")

const page = "../../../docs/reports/mutants.md"

// The page has every mutant of the list, with the test that must notice it and the small world that finds it.
func TestMutantsAreListed(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Mutants\n\nMade from the list in `internal/testonly/mutants` by `go test ./internal/testonly/mutants -update`. What a mutant is, and how" +
		" to add one:\n[testing.md](../testing.md#mutants).\n\n" +
		"`make mutants` breaks the source in each of these ways, and fails unless the named test fails. Where the last column\n" +
		"names a small world, `TestWorlds` finds the mutant in it as well, every time (`make mutants-worlds`).\n\n" +
		"| mutant | changes | must fail | small world |\n|---|---|---|---|\n")
	worlds := FoundByWorlds()
	for _, m := range All() {
		fmt.Fprintf(&b, "| %s | `%s` | `%s` in `%s` | %s |\n", m.Name, m.File, m.Test, strings.TrimPrefix(m.Package, "./"), worlds[m.Name])
	}
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(b.String()), 0o644))
	}
	written, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, b.String(), string(written), "the page is not what the list says: go test ./internal/testonly/mutants -update")
}
