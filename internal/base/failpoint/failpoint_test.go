package failpoint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// reach runs testdata/reach, with the points built in or not, and returns what it got past and how it ended.
func reach(t *testing.T, tags, setting string) (said string, state *os.ProcessState) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "reach")
	out, err := exec.Command("go", "build", "-tags", tags, "-o", binary, "./testdata/reach").CombinedOutput()
	require.NoError(t, err, "%s", out)
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), setting)
	told, _ := cmd.CombinedOutput() // how it ended is the state
	return string(told), cmd.ProcessState
}

// A binary that ships takes no notice of the variables that tell a test's where to end.
func TestNothingInWhatShips(t *testing.T) {
	for _, setting := range []string{"AWACD_DIE_AT=applied", "AWACD_HANG_AT=applied"} {
		said, state := reach(t, "", setting)
		require.True(t, state.Success(), "%s: %s", setting, said)
		require.Equal(t, "past 1\npast 2\npast 3\n", said, setting)
	}
}

func TestDiesWhereItIsTold(t *testing.T) {
	for setting, past := range map[string]string{
		"AWACD_DIE_AT=applied":   "",
		"AWACD_DIE_AT=applied:1": "",
		"AWACD_DIE_AT=applied:3": "past 1\npast 2\n",
	} {
		said, state := reach(t, "failpoints", setting)
		require.Equal(t, past, said, setting)
		status, ok := state.Sys().(syscall.WaitStatus)
		require.True(t, ok)
		require.True(t, status.Signaled() && status.Signal() == syscall.SIGKILL, "%s: %s", setting, state)
	}
	for _, setting := range []string{"AWACD_DIE_AT=applied:4", "AWACD_DIE_AT=persisted"} { // never reached
		said, state := reach(t, "failpoints", setting)
		require.True(t, state.Success(), "%s: %s", setting, said)
	}
}

func TestHangsWhereItIsTold(t *testing.T) {
	said, state := reach(t, "failpoints", "AWACD_HANG_AT=applied:2")
	require.Contains(t, said, "past 1\nfatal error: all goroutines are asleep", "Go ends a process that has nothing left to run")
	require.False(t, state.Success())
}

// A point that no list has is one at which no fault ever happens; so is one that no session reaches.
func TestEveryPointIsListedAndReached(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, 0)
	require.NoError(t, err)
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			names = append(names, spec.Names[0].Name)
		}
		return true
	})
	require.Len(t, names, len(All())+1, "all but Turn are in All")
	sources, err := filepath.Glob("../../daemon/*.go")
	require.NoError(t, err)
	var sessions strings.Builder
	for _, path := range sources {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		sessions.Write(text)
	}
	for _, name := range names {
		require.Equal(t, 1, strings.Count(sessions.String(), "failpoint.Reach(failpoint."+name+")"), name)
	}
}
