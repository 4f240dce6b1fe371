package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Options of a build.
type Options struct {
	Root    string // of the repository
	Arch    string // GOARCH; that of this machine if empty
	Release string // what the binary calls itself
	Commit  string
	Certs   string // file of authorities for TLS; that of the system if empty
	Stamp   string // when the image says that it was made, RFC 3339; 1970 if empty
}

// systemCerts is where Debian and its kin keep them.
const systemCerts = "/etc/ssl/certs/ca-certificates.crt"

// Build builds the image and writes the archive. What the Dockerfile has its build stage run is run here.
func (d *Dockerfile) Build(ctx context.Context, o Options, w io.Writer) error {
	out, err := os.MkdirTemp("", "awacd-image")
	if err != nil {
		return fmt.Errorf("build the image: %w", err)
	}
	defer func() { _ = os.RemoveAll(out) }()
	cmd := exec.CommandContext(ctx, "sh", "-c", strings.ReplaceAll(d.Command, "/out/", out+"/"))
	cmd.Dir = o.Root
	cmd.Env = append(os.Environ(), "RELEASE="+o.Release, "COMMIT="+o.Commit, "GOOS=linux")
	if o.Arch != "" {
		cmd.Env = append(cmd.Env, "GOARCH="+o.Arch)
	}
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the image: %s: %w\n%s", d.Command, err, said)
	}
	if o.Certs == "" {
		o.Certs = systemCerts
	}
	layer, err := d.layer(func(from string) (string, error) {
		switch {
		case strings.HasPrefix(from, "/out/"):
			return filepath.Join(out, strings.TrimPrefix(from, "/out/")), nil
		case from == systemCerts:
			return o.Certs, nil
		}
		return "", fmt.Errorf("%s: %w", from, errUnknown)
	})
	if err != nil {
		return fmt.Errorf("build the image: %w", err)
	}
	return d.archive(o, layer, w)
}

// layer is a tar of what is copied, with the folders that it lies in; all of it is root's, and nobody may write it.
func (d *Dockerfile) layer(source func(string) (string, error)) ([]byte, error) {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	var made []string
	for _, c := range d.Copies {
		for _, dir := range parents(c.To) {
			if slices.Contains(made, dir) {
				continue
			}
			made = append(made, dir)
			if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}); err != nil {
				return nil, err
			}
		}
		from, err := source(c.From)
		if err != nil {
			return nil, err
		}
		body, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		mode := int64(0o444)
		if strings.HasPrefix(c.From, "/out/") {
			mode = 0o555
		}
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(c.To, "/"), Mode: mode, Size: int64(len(body))}); err != nil {
			return nil, err
		}
		if _, err := t.Write(body); err != nil {
			return nil, err
		}
	}
	err := t.Close()
	return b.Bytes(), err
}

// parents are the folders above a file, the outermost first, without the slash they begin with.
func parents(file string) (dirs []string) {
	for dir := path.Dir(strings.TrimPrefix(file, "/")); dir != "."; dir = path.Dir(dir) {
		dirs = append(dirs, dir)
	}
	slices.Reverse(dirs)
	return dirs
}

// What OCI's documents look like, as far as they are needed here.
type (
	descriptor struct {
		MediaType   string            `json:"mediaType"`
		Digest      string            `json:"digest"`
		Size        int               `json:"size"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}
	index struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []descriptor `json:"manifests"`
	}
	manifest struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        descriptor   `json:"config"`
		Layers        []descriptor `json:"layers"`
	}
	image struct {
		Created      string `json:"created"`
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
		Config       Config `json:"config"`
		RootFS       rootfs `json:"rootfs"`
	}
	rootfs struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	}
)

const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// archive writes an OCI image layout as a tar.
func (d *Dockerfile) archive(o Options, layer []byte, w io.Writer) error {
	t := tar.NewWriter(w)
	put := func(name string, body []byte) error {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(body))}); err != nil {
			return err
		}
		_, err := t.Write(body)
		return err
	}
	blob := func(kind string, v any) (descriptor, error) {
		body, raw := v.([]byte)
		if !raw {
			var err error
			if body, err = json.Marshal(v); err != nil {
				return descriptor{}, err
			}
		}
		sum := digest(body)
		return descriptor{MediaType: kind, Digest: sum, Size: len(body)}, put("blobs/sha256/"+strings.TrimPrefix(sum, "sha256:"), body)
	}
	if err := put("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	if o.Arch == "" {
		o.Arch = thisArch()
	}
	if o.Stamp == "" {
		o.Stamp = "1970-01-01T00:00:00Z"
	}
	l, err := blob(typeLayer, layer)
	if err != nil {
		return err
	}
	c, err := blob(typeConfig, image{o.Stamp, o.Arch, "linux", d.Config, rootfs{"layers", []string{l.Digest}}})
	if err != nil {
		return err
	}
	m, err := blob(typeManifest, manifest{2, typeManifest, c, []descriptor{l}})
	if err != nil {
		return err
	}
	m.Annotations = map[string]string{"org.opencontainers.image.ref.name": "awa-counterd:" + o.Release}
	body, err := json.Marshal(index{2, typeIndex, []descriptor{m}})
	if err != nil {
		return err
	}
	if err := put("index.json", body); err != nil {
		return err
	}
	return t.Close()
}
