package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// wheels are the published releases that the table is made of.
var (
	oldReleases = []string{"0.6.0a9", "0.6.0b1"}
	newReleases = []string{"0.6.0b2", "0.6.0", "0.6.5", "0.6.9"}
)

// venvs is the directory of the virtual environments, one a release.
type venvs string

func venvDir() (venvs, error) {
	if dir := os.Getenv("AWA_VENVS"); dir != "" {
		return venvs(dir), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for virtual environments (AWA_VENVS names one): %w", err)
	}
	return venvs(filepath.Join(home, ".cache", "awa-counterd", "realawa")), nil
}

func (v venvs) python(release string) string {
	return filepath.Join(string(v), release, "bin", "python")
}

func (v venvs) cli(release string) string { return filepath.Join(string(v), release, "bin", "awa") }

func (v venvs) there(release string) bool {
	for _, name := range []string{v.python(release), v.cli(release)} {
		if _, err := os.Stat(name); err != nil {
			return false
		}
	}
	return true
}

// obtain makes the virtual environment of a release when it is not there.
func (v venvs) obtain(ctx context.Context, release string) error {
	if v.there(release) {
		return nil
	}
	fmt.Fprintf(os.Stderr, "realawa: installing awa-pg and awa-cli %s into %s\n", release, v)
	dir := filepath.Join(string(v), release)
	for _, args := range [][]string{
		{"python3", "-m", "venv", dir},
		{v.python(release), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "awa-pg==" + release, "awa-cli==" + release},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			// A half-made environment would look like one that is there.
			_ = os.RemoveAll(dir)
			return &absentError{fmt.Errorf("awa %s cannot be had, so nothing of it is proved here: %s: %w: %s",
				release, strings.Join(args, " "), err, lastLine(string(out)))}
		}
	}
	return nil
}

// absentError says that a release could not be installed, and why: nothing was played.
type absentError struct{ error }

func (e *absentError) Unwrap() error { return e.error }

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
