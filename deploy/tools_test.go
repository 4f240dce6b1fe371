package deploy

import (
	"os"
	"os/exec"
	"testing"
)

// tool finds a program that checks files of its own. Where AWACD_TOOLS=required, as in CI, a missing one is a failure.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case os.Getenv("AWACD_TOOLS") == "required":
		t.Fatalf("%s is not here, and is required", name)
	default:
		t.Skipf("%s is not here", name)
	}
	return ""
}

// passes runs a tool in a directory; what it says is shown when it finds something.
func passes(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}
