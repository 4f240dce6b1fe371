package wheels

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Dir is the directory of the virtual environments, one a release.
type Dir string

// Default is where AWA_VENVS says, or a place in the user's cache.
func Default() (Dir, error) {
	if dir := os.Getenv("AWA_VENVS"); dir != "" {
		return Dir(dir), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for virtual environments (AWA_VENVS names one): %w", err)
	}
	return Dir(filepath.Join(home, ".cache", "awa-counterd", "realawa")), nil
}

// Python is a release's interpreter.
func (d Dir) Python(release string) string { return filepath.Join(string(d), release, "bin", "python") }

// CLI is a release's command.
func (d Dir) CLI(release string) string { return filepath.Join(string(d), release, "bin", "awa") }

// Has reports whether a release is installed.
func (d Dir) Has(release string) bool {
	for _, name := range []string{d.Python(release), d.CLI(release)} {
		if _, err := os.Stat(name); err != nil {
			return false
		}
	}
	return true
}

// Obtain makes the virtual environment of a release when it is not there; an *AbsentError when it cannot.
func (d Dir) Obtain(ctx context.Context, release string) error {
	if d.Has(release) {
		return nil
	}
	fmt.Fprintf(os.Stderr, "installing awa-pg and awa-cli %s into %s\n", release, d)
	dir := filepath.Join(string(d), release)
	for _, args := range [][]string{
		{"python3", "-m", "venv", dir},
		{d.Python(release), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "awa-pg==" + release, "awa-cli==" + release},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			// A half-made environment would look like one that is there.
			_ = os.RemoveAll(dir)
			return &AbsentError{fmt.Errorf("awa %s cannot be had, so nothing of it is proved here: %s: %w: %s",
				release, strings.Join(args, " "), err, lastLine(string(out)))}
		}
	}
	return nil
}

// AbsentError says that a release could not be installed, and why: nothing was run.
type AbsentError struct{ error }

func (e *AbsentError) Unwrap() error { return e.error }

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
