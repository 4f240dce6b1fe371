package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/awa-counterd/awa-counterd/e2e/oci"
)

// deployed collects the command lines of awa-counterd in deploy/, without the name of the program, and the variables that are set for it.
type deployed struct {
	lines     map[string][]string // by where they stand
	variables map[string]string
}

// walk looks through a document of Kubernetes or Compose: containers of awa-counterd, and hooks that run its binary.
func (d *deployed) walk(where string, v any) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			d.walk(where, x)
		}
	case map[string]any:
		image, _ := v["image"].(string)
		if args := words(v["args"]); args != nil {
			d.lines[where+" args"] = args
		}
		if command := words(v["command"]); command != nil {
			switch {
			case command[0] == "/awa-counterd":
				d.lines[where+" hook"] = command[1:]
			case strings.HasPrefix(image, "awa-counterd:"):
				d.lines[where+" command"] = command
			}
		}
		if name, _ := v["name"].(string); strings.HasPrefix(name, "AWA_COUNTERD_") {
			d.variables[name] = where
		}
		for key, x := range v {
			if strings.HasPrefix(key, "AWA_COUNTERD_") {
				d.variables[key] = where
			}
			d.walk(where, x)
		}
	}
}

func words(v any) (out []string) {
	list, _ := v.([]any)
	for _, x := range list {
		if s, ok := x.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// Every command line in deploy/ is one that this binary understands, and every variable one that it reads.
func TestDeployedCommands(t *testing.T) {
	d := deployed{make(map[string][]string), make(map[string]string)}
	deploy := filepath.Join(root, "deploy")
	require.NoError(t, filepath.WalkDir(deploy, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		documents := yaml.NewDecoder(bytes.NewReader(text))
		for {
			var v any
			if err := documents.Decode(&v); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			d.walk(path, v)
		}
	}))
	unit, err := os.ReadFile(filepath.Join(deploy, "awa-counterd.service"))
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(`(?m)^(Exec\w+)=/usr/local/bin/awa-counterd (.+)$`).FindAllStringSubmatch(string(unit), -1) {
		d.lines["unit "+m[1]] = strings.Fields(m[2])
	}
	for _, name := range variables.FindAllString(string(unit), -1) {
		d.variables[name] = "unit"
	}
	image, err := oci.Read(filepath.Join(deploy, "Dockerfile"))
	require.NoError(t, err)
	d.lines["image"] = image.Config.Cmd

	require.Len(t, d.lines, 9, "%v", d.lines) // four of Kubernetes and a hook, Compose, two of the unit, the image
	for where, args := range d.lines {
		k, err := kong.New(&cli{}, kong.Name("awa-counterd"), kong.DefaultEnvars("AWA_COUNTERD"))
		require.NoError(t, err)
		_, err = k.Parse(args)
		require.NoError(t, err, "%s: %v", where, args)
	}
	g := understood(t)
	require.NotEmpty(t, d.variables)
	for name, where := range d.variables {
		require.True(t, g.variable[name], "%s: no flag reads %s", where, name)
	}
}

// The image is built with the Go that go.mod asks for.
func TestImageHasTheGoOfTheModule(t *testing.T) {
	image, err := oci.Read(filepath.Join(root, "deploy", "Dockerfile"))
	require.NoError(t, err)
	module, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(module))
	require.Equal(t, "golang:"+version[1], image.Base)
}
