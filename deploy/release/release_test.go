package main

import (
	"archive/tar"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const root = "../.."

// whole asks for every platform, each compiled from nothing (make release-check); otherwise this machine's, with what is compiled
// already.
func whole() bool { return os.Getenv("AWACD_RELEASE") == "whole" }

func built() []string {
	if whole() {
		return strings.Split(platforms, ",")
	}
	return []string{"linux/" + runtime.GOARCH}
}

// elsewhere is a copy of the sources in a folder with another name.
func elsewhere(t *testing.T) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "some where", "else")
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel, e := filepath.Rel(root, path)
		switch {
		case err != nil || e != nil:
			return errors.Join(err, e)
		case d.IsDir() && (rel == ".git" || rel == "tmp" || rel == "bin" || rel == "dist"):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		case !d.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), text, 0o600)
	}))
	return to
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

func TestSameCommitSameBytes(t *testing.T) {
	r := release{root: root, out: t.TempDir(), version: "v9.9.9-test", commit: "0123abc", stamp: time.Unix(1_700_000_000, 0).UTC()}
	require.NoError(t, r.make(t.Context(), built()))
	first, err := os.ReadFile(filepath.Join(r.out, sums))
	require.NoError(t, err)

	// Somebody else, elsewhere, with other habits.
	for _, name := range []string{"GOMODCACHE", "GOCACHE"} {
		t.Setenv(name, goEnv(t, name))
	}
	if whole() {
		t.Setenv("GOCACHE", t.TempDir())
	}
	for name, value := range map[string]string{
		"HOME": t.TempDir(), "USER": "somebody", "TZ": "Asia/Kathmandu", "LANG": "de_DE.UTF-8", "CGO_ENABLED": "1", "GOAMD64": "v3",
		"GOARM64": "v8.1", "GOFLAGS": "-buildvcs=false -gcflags=-N", "GOEXPERIMENT": "nogreenteagc", "GOOS": "plan9",
	} {
		t.Setenv(name, value)
	}
	defer syscall.Umask(syscall.Umask(0o077))
	again := r
	again.root, again.out = elsewhere(t), t.TempDir()
	require.NoError(t, again.make(t.Context(), built()))
	second, err := os.ReadFile(filepath.Join(again.out, sums))
	require.NoError(t, err)
	require.Equal(t, string(first), string(second))

	cmd := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", sums)
	cmd.Dir = r.out
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, text := range built() {
		p, err := parsePlatform(text)
		require.NoError(t, err)
		r.judge(t, p)
	}
}

// judge looks at the archive and the bill of a platform.
func (r *release) judge(t *testing.T, p platform) {
	t.Helper()
	files := unpack(t, filepath.Join(r.out, r.name(p)+".tar.gz"))
	var others []string
	for name := range files {
		folder, rest, _ := strings.Cut(name, "/")
		require.Equal(t, r.name(p), folder)
		others = append(others, rest)
	}
	want := []string{"awa-counterd", "LICENSES-of-others"}
	for _, s := range shipped() {
		want = append(want, s[1])
	}
	require.ElementsMatch(t, want, others)
	binary := filepath.Join(t.TempDir(), "awa-counterd")
	require.NoError(t, os.WriteFile(binary, files[r.name(p)+"/awa-counterd"], 0o700))
	if p.os == "linux" {
		program, err := elf.Open(binary)
		require.NoError(t, err)
		for _, part := range program.Progs {
			require.NotEqual(t, elf.PT_INTERP, part.Type, "the binary is not static")
		}
		require.NoError(t, program.Close())
	}
	if p.os == runtime.GOOS && p.arch == runtime.GOARCH {
		out, err := exec.CommandContext(t.Context(), binary, "version").CombinedOutput()
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("awa-counterd v9.9.9-test\ncommit 0123abc\n%s\n", runtime.Version()), string(out))
	}

	info, err := buildinfo.ReadFile(binary)
	require.NoError(t, err)
	var b bom
	text, err := os.ReadFile(filepath.Join(r.out, r.name(p)+".cdx.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &b))
	listed := make(map[string]string)
	for _, c := range b.Components {
		listed[c.Name] = c.Version
	}
	require.Len(t, listed, len(info.Deps)+1)
	require.Equal(t, strings.TrimPrefix(info.GoVersion, "go"), listed["stdlib"])
	licences := string(files[r.name(p)+"/LICENSES-of-others"])
	for _, m := range info.Deps {
		require.Equal(t, m.Version, listed[m.Path])
		require.Contains(t, licences, "\n=== "+m.Path+": ")
	}
	require.Contains(t, listed, "github.com/jackc/pgx/v5")
	require.NotContains(t, listed, "github.com/stretchr/testify", "what only tests use is not in the binary")
	sum, err := hash(binary)
	require.NoError(t, err)
	require.Equal(t, sum, b.Metadata.Component.Hashes[0].Content)
}

func unpack(t *testing.T, archive string) map[string][]byte {
	t.Helper()
	f, err := os.Open(archive)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	files := make(map[string][]byte)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		require.NoError(t, err)
		require.Zero(t, h.Uid+h.Gid)
		require.Equal(t, int64(1_700_000_000), h.ModTime.Unix())
		files[h.Name], err = io.ReadAll(r)
		require.NoError(t, err)
	}
}

// A version is not made before CHANGELOG.md says what is in it.
func TestChangelogHasTheVersion(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "CHANGELOG.md"), []byte("# Changelog\n\n## 9.9.9 - not released yet\n\n## 0.1.0 - 2026-01-02\n"), 0o600))
	for version, want := range map[string]string{"v0.1.0": "", "0123abc": "", "v9.9.9-test": "", "v9.9.9": `no heading "## 9.9.9 - day"`} {
		err := (&release{root: dir, version: version}).checkChangelog()
		if want == "" {
			require.NoError(t, err, version)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
}

// What a purl may not have in it is escaped.
func TestPURL(t *testing.T) {
	require.Equal(t, "pkg:golang/github.com/x/y/v2@v2.0.0%2Bincompatible", purl("github.com/X/y/v2", "v2.0.0+incompatible"))
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, uuid([32]byte{6: 0xff, 8: 0xff}))
}
