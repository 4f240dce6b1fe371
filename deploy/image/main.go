// Command image builds the image that deploy/Dockerfile describes, without a container engine, as an OCI archive.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/awa-counterd/awa-counterd/e2e/oci"
)

func main() {
	var o oci.Options
	flag.StringVar(&o.Arch, "arch", "", "amd64 or arm64; that of this machine if not given")
	flag.StringVar(&o.Release, "release", "dev", "version that the binary says, and tag of the image")
	flag.StringVar(&o.Commit, "commit", "", "commit that the binary says")
	out := flag.String("o", "dist/awa-counterd.oci.tar", "archive to write")
	flag.Parse()
	o.Root = "."
	if err := build(o, *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func build(o oci.Options, out string) error {
	d, err := oci.Read("deploy/Dockerfile")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o750); err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	if err := d.Build(context.Background(), o, f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
