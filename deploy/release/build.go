package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

type platform struct{ os, arch string }

func parsePlatform(text string) (platform, error) {
	system, arch, ok := strings.Cut(text, "/")
	if !ok || system == "" || arch == "" {
		return platform{}, fmt.Errorf("%q is no platform: linux/amd64 is one", text)
	}
	return platform{system, arch}, nil
}

// settings of the environment that change what the compiler makes, as they are for a release. Others that begin with GO and
// would do so are dropped.
func settings(p platform) []string {
	return []string{"CGO_ENABLED=0", "GOOS=" + p.os, "GOARCH=" + p.arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=-mod=readonly", "GOEXPERIMENT=", "GOFIPS140=off", "GOWORK=off"}
}

// build compiles the binary. Neither the tree's place nor its state under version control gets in: the commit is said by us.
func (r *release) build(ctx context.Context, p platform, to string) error {
	to, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", fmt.Sprintf("-s -w -buildid= -X main.release=%s -X main.commit=%s", r.version, r.commit), "-o", to, "./cmd/awa-counterd")
	cmd.Dir = r.root
	cmd.Env = append(os.Environ(), settings(p)...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, said)
	}
	return nil
}

// part is a Go module that is in the binary.
type part struct{ path, version, sum string }

// parts are what the binary says that it is made of.
type parts struct {
	module  string // ours
	goes    string // version of Go, go1.26.8
	modules []part
}

func readParts(binary string) (*parts, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("read what is in the binary: %w", err)
	}
	p := &parts{module: info.Main.Path, goes: info.GoVersion}
	for _, m := range info.Deps {
		if m.Replace != nil {
			return nil, fmt.Errorf("%s is replaced: a release is made of published modules", m.Path)
		}
		p.modules = append(p.modules, part{m.Path, m.Version, m.Sum})
	}
	slices.SortFunc(p.modules, func(a, b part) int { return strings.Compare(a.path, b.path) })
	return p, nil
}

// licences joins the licences and notices of everything that is in the binary: most of them ask to come along.
func (r *release) licences(ctx context.Context, p *parts) (string, error) {
	args := []string{"list", "-m", "-f", "{{.Path}}\t{{.Dir}}"}
	for _, m := range p.modules {
		args = append(args, m.path)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = r.root
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find the modules' licences: %w", err)
	}
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("find Go's licence: %w", err)
	}
	var b strings.Builder
	b.WriteString("awa-counterd is licensed as LICENSE says. Its binary contains these as well:\n")
	lines := append([]string{"Go's standard library\t" + strings.TrimSpace(string(goroot))}, strings.Split(strings.TrimSpace(string(out)), "\n")...)
	for _, line := range lines {
		module, dir, _ := strings.Cut(line, "\t")
		found, err := licenceFiles(dir)
		if err != nil {
			return "", err
		}
		if len(found) == 0 {
			return "", fmt.Errorf("%s has no licence in %s: its binary must not be given away", module, dir)
		}
		for _, file := range found {
			text, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "\n=== %s: %s\n\n%s\n", module, filepath.Base(file), strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n")))
		}
	}
	return b.String(), nil
}

func licenceFiles(dir string) (found []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		for _, start := range []string{"LICENSE", "LICENCE", "COPYING", "NOTICE", "PATENTS"} {
			if strings.HasPrefix(name, start) && !e.IsDir() && filepath.Ext(name) != ".GO" {
				found = append(found, filepath.Join(dir, e.Name()))
			}
		}
	}
	return found, nil
}
