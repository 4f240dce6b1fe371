package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// MajorVariable names the environment variable that asks Obtain for a server of one major version.
const MajorVariable = "AWACD_PG"

// builds are the versions that Fetch is asked for, by major.
func builds() map[string]string {
	return map[string]string{
		"13": "13.16.0", "14": "14.18.0", "15": "15.13.0", "16": "16.9.0", "17": "17.5.0", "18": "18.3.0",
	}
}

// Majors are the supported major versions, the oldest first. 13 can be had as well, to be refused.
func Majors() []string {
	all := slices.Sorted(maps.Keys(builds()))
	return slices.DeleteFunc(all, func(major string) bool { return major < "14" })
}

// OfMajor finds or gets server binaries of one major version: those on this machine come first, for they
// have all programs; what Fetch brings has the server's only.
func OfMajor(ctx context.Context, major string, log io.Writer) (string, error) {
	build, ok := builds()[major]
	if !ok {
		return "", fmt.Errorf("no PostgreSQL %q: %s takes one of %s", major, MajorVariable, strings.Join(slices.Sorted(maps.Keys(builds())), ", "))
	}
	var candidates []string
	if dir, err := Find(); err == nil { // PG_BIN
		candidates = append(candidates, dir)
	}
	for _, dir := range append(candidates, installed()...) {
		version, err := Version(ctx, dir)
		if err != nil {
			return "", err
		}
		if version == major || strings.HasPrefix(version, major+".") {
			return dir, nil
		}
	}
	if !complete(fetched(build)) {
		fmt.Fprintf(log, "getting the server binaries of PostgreSQL %s\n", build)
	}
	return Fetch(build)
}

// Version is that of the server binaries in a directory, "17.5" for example.
func Version(ctx context.Context, dir string) (string, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s/postgres for its version: %w", dir, err)
	}
	// postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)
	words := strings.Fields(string(out))
	if len(words) < 3 {
		return "", fmt.Errorf("%s/postgres --version says %q", dir, out)
	}
	return words[2], nil
}

// ErrNoProgram says that a program is not among a server's binaries.
var ErrNoProgram = errors.New("not among the programs that this server was brought with")

// Program is the path of one of the programs beside the server in a directory: pg_resetwal, pg_recvlogical. What
// Fetch brings lacks it.
func Program(dir, name string) (string, error) {
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s: %w", name, ErrNoProgram)
	}
	return path, nil
}
