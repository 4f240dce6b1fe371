package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The Dockerfile, as hadolint sees it. Two mistakes show that it would say so.
func TestDockerfile(t *testing.T) {
	hadolint := tool(t, "hadolint")
	passes(t, ".", hadolint, "Dockerfile")
	text, err := os.ReadFile("Dockerfile")
	require.NoError(t, err)
	for complaint, c := range map[string][2]string{
		"DL3000": {"WORKDIR /src", "WORKDIR src"},
		"DL3006": {"FROM golang:1.26 AS", "FROM golang AS"},
	} {
		require.Contains(t, string(text), c[0])
		wrong := filepath.Join(t.TempDir(), "Dockerfile")
		require.NoError(t, os.WriteFile(wrong, []byte(strings.Replace(string(text), c[0], c[1], 1)), 0o600))
		out, err := exec.CommandContext(t.Context(), hadolint, wrong).CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), complaint)
	}
}
