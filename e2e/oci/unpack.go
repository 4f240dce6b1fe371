package oci

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

func thisArch() string { return runtime.GOARCH }

// Unpacked is an image whose files lie below a folder.
type Unpacked struct {
	Config Config
	Arch   string
	Files  map[string]os.FileMode // by their name in the image
}

// Unpack checks an archive against its own digests and lays its one image out below dir.
func Unpack(archive io.Reader, dir string) (*Unpacked, error) {
	files := make(map[string][]byte)
	t := tar.NewReader(archive)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the archive: %w", err)
		}
		if files[h.Name], err = io.ReadAll(t); err != nil {
			return nil, fmt.Errorf("read the archive: %w", err)
		}
	}
	if !strings.Contains(string(files["oci-layout"]), `"1.0.0"`) {
		return nil, errors.New("no OCI image layout")
	}
	blob := func(d descriptor) ([]byte, error) {
		body := files["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")]
		if digest(body) != d.Digest || len(body) != d.Size {
			return nil, fmt.Errorf("blob %s is missing or not what its digest says", d.Digest)
		}
		return body, nil
	}
	var i index
	if err := json.Unmarshal(files["index.json"], &i); err != nil || len(i.Manifests) != 1 {
		return nil, fmt.Errorf("no index of one image: %w", err)
	}
	var m manifest
	var config image
	for _, part := range []struct {
		at   func() descriptor
		into any
	}{{func() descriptor { return i.Manifests[0] }, &m}, {func() descriptor { return m.Config }, &config}} {
		body, err := blob(part.at())
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(body, part.into); err != nil {
			return nil, err
		}
	}
	out := &Unpacked{Config: config.Config, Arch: config.Architecture, Files: make(map[string]os.FileMode)}
	for n, l := range m.Layers {
		body, err := blob(l)
		if err != nil {
			return nil, err
		}
		if config.RootFS.DiffIDs[n] != digest(body) {
			return nil, errors.New("the layer is not the one that the config names")
		}
		if err := out.lay(body, dir); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (u *Unpacked) lay(layer []byte, dir string) error {
	t := tar.NewReader(bytes.NewReader(layer))
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a layer: %w", err)
		}
		if !filepath.IsLocal(h.Name) {
			return fmt.Errorf("%s leads out of the image", h.Name)
		}
		to := filepath.Join(dir, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(to, h.FileInfo().Mode())
		case tar.TypeReg:
			var body []byte
			if body, err = io.ReadAll(t); err == nil {
				err = os.WriteFile(to, body, h.FileInfo().Mode().Perm())
			}
			u.Files["/"+h.Name] = h.FileInfo().Mode()
		default:
			err = fmt.Errorf("%s is neither file nor folder", h.Name)
		}
		if err != nil {
			return err
		}
	}
}
