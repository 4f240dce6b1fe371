package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// release is one version, and how it is made.
type release struct {
	root    string    // of the repository
	out     string    // folder that is filled
	version string    // what the binary says, v0.1.0
	commit  string    // likewise
	stamp   time.Time // the time that every file and the bill carry: that of the commit
}

// platforms are those that binaries are made for.
const platforms = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64"

func main() {
	r := release{root: "."}
	flag.StringVar(&r.out, "o", "dist", "folder to write to")
	flag.StringVar(&r.version, "release", "dev", "version that the binaries say")
	flag.StringVar(&r.commit, "commit", "", "commit that the binaries say")
	stamp := flag.Int64("stamp", 0, "Unix time that every file is dated: that of the commit")
	on := flag.String("platforms", platforms, "what to build for")
	flag.Parse()
	r.stamp = time.Unix(*stamp, 0).UTC()
	if err := r.make(context.Background(), strings.Split(*on, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// number is a version's, without the v and what follows a dash.
var number = regexp.MustCompile(`^v(\d+\.\d+\.\d+)(-.*)?$`)

// checkChangelog refuses a version that CHANGELOG.md has no heading with a day for. Builds that are no version pass.
func (r *release) checkChangelog() error {
	m := number.FindStringSubmatch(r.version)
	if m == nil || m[2] != "" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(r.root, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	if !regexp.MustCompile(`(?m)^## ` + regexp.QuoteMeta(m[1]) + ` - \d{4}-\d\d-\d\d$`).Match(text) {
		return fmt.Errorf("CHANGELOG.md has no heading \"## %s - day\": say there what is new in it", m[1])
	}
	return nil
}

// name is how the files of a platform begin.
func (r *release) name(p platform) string {
	return fmt.Sprintf("awa-counterd_%s_%s_%s", strings.TrimPrefix(r.version, "v"), p.os, p.arch)
}

func (r *release) make(ctx context.Context, on []string) error {
	if err := r.checkChangelog(); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o750); err != nil {
		return err
	}
	var made []string
	for _, text := range on {
		p, err := parsePlatform(text)
		if err != nil {
			return err
		}
		files, err := r.platform(ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
		made = append(made, files...)
	}
	return r.checksums(made)
}

// platform makes the archive and the bill of one.
func (r *release) platform(ctx context.Context, p platform) (made []string, err error) {
	dir, err := os.MkdirTemp("", "awacd-release")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary := filepath.Join(dir, "awa-counterd")
	if err := r.build(ctx, p, binary); err != nil {
		return nil, err
	}
	parts, err := readParts(binary)
	if err != nil {
		return nil, err
	}
	licences, err := r.licences(ctx, parts)
	if err != nil {
		return nil, err
	}
	archive := r.name(p) + ".tar.gz"
	if err := r.archive(filepath.Join(r.out, archive), r.name(p), binary, licences); err != nil {
		return nil, err
	}
	bill := r.name(p) + ".cdx.json"
	if err := r.bill(filepath.Join(r.out, bill), p, binary, parts); err != nil {
		return nil, err
	}
	return []string{archive, bill}, nil
}

// sums is the file of checksums, as sha256sum -c reads it.
const sums = "SHA256SUMS"

func (r *release) checksums(made []string) error {
	slices.Sort(made)
	var b strings.Builder
	for _, name := range made {
		sum, err := hash(filepath.Join(r.out, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s  %s\n", sum, name)
	}
	if err := os.WriteFile(filepath.Join(r.out, sums), []byte(b.String()), 0o644); err != nil { //nolint:gosec // everybody may read it
		return err
	}
	fmt.Print(b.String())
	return nil
}

func hash(path string) (string, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:]), nil
}
