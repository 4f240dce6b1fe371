package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const unitFile = "awa-counterd.service"

// installed is a root folder with the unit in it, changed, and a program where it looks for one.
func installed(t *testing.T, change func(string) string) (root string) {
	t.Helper()
	text, err := os.ReadFile(unitFile)
	require.NoError(t, err)
	root = t.TempDir()
	units, programs := filepath.Join(root, "etc/systemd/system"), filepath.Join(root, "usr/local/bin")
	for _, dir := range []string{units, programs} {
		require.NoError(t, os.MkdirAll(dir, 0o755))
	}
	require.NoError(t, os.WriteFile(filepath.Join(units, unitFile), []byte(change(string(text))), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(programs, "awa-counterd"), []byte("#!/bin/sh\n"), 0o700))
	return root
}

// The unit, installed by hand below a folder, as systemd itself understands it. Two mistakes show that it would say so.
func TestUnitIsVerified(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	for name, c := range map[string]struct {
		old, instead, complaint string
	}{
		"as shipped":  {"", "", ""},
		"unknown key": {"ProtectHome=", "ProtectHmoe=", "ProtectHmoe"},
		"no program":  {"ExecStart=/usr/local/bin/awa-counterd", "ExecStart=/usr/bin/awa-counterd", "not executable"},
	} {
		t.Run(name, func(t *testing.T) {
			root := installed(t, func(unit string) string {
				require.Contains(t, unit, c.old)
				return strings.Replace(unit, c.old, c.instead, 1)
			})
			cmd := exec.CommandContext(t.Context(), analyze, "--root="+root, "--man=no", "--recursive-errors=no", "verify", unitFile)
			out, err := cmd.CombinedOutput()
			if c.complaint == "" {
				require.NoError(t, err, "%s", out)
				require.Empty(t, string(out))
				return
			}
			require.Error(t, err)
			require.Contains(t, string(out), c.complaint)
		})
	}
}

// What systemd counts as exposure, from 0 to 10: at most 2. The daemon needs its sockets, and no more of the machine.
func TestUnitIsHardened(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	root := installed(t, func(unit string) string { return unit })
	passes(t, root, analyze, "--root="+root, "--offline=true", "--threshold=20", "security", unitFile)
}
