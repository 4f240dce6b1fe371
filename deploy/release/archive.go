package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"os"
	"path"
	"path/filepath"
)

// shipped are the files of the repository that come along, and where they lie in the archive.
func shipped() [][2]string {
	return [][2]string{
		{"CHANGELOG.md", "CHANGELOG.md"},
		{"LICENSE", "LICENSE"},
		{"README.md", "README.md"},
		{"deploy/awa-counterd.service", "awa-counterd.service"},
		{"deploy/completions/_awa-counterd", "completions/_awa-counterd"},
		{"deploy/completions/awa-counterd.bash", "completions/awa-counterd.bash"},
		{"deploy/completions/awa-counterd.fish", "completions/awa-counterd.fish"},
		{"deploy/awa-counterd.1", "man/man1/awa-counterd.1"},
	}
}

// archive writes a compressed tar with one folder. Owner, times and order are the same whoever makes it.
func (r *release) archive(file, folder, binary, licences string) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	put := func(name string, mode int64, body []byte) error {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: path.Join(folder, name), Mode: mode, Size: int64(len(body)), ModTime: r.stamp, Uname: "root", Gname: "root", Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		_, err := t.Write(body)
		return err
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	if err := put("awa-counterd", 0o755, program); err != nil {
		return err
	}
	if err := put("LICENSES-of-others", 0o644, []byte(licences)); err != nil {
		return err
	}
	for _, s := range shipped() {
		body, err := os.ReadFile(filepath.Join(r.root, s[0]))
		if err != nil {
			return err
		}
		if err := put(s[1], 0o644, body); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}
