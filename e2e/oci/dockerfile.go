package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Dockerfile is one with a stage that builds and a stage from scratch that copies out of it.
type Dockerfile struct {
	Base    string // image of the stage that builds
	Command string // its command that calls go build
	Copies  []Copy
	Config  Config
}

// Copy puts a file of the build stage into the image.
type Copy struct{ From, To string }

// Config is what the image says of how to run it; the names are OCI's.
type Config struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
}

// Read reads a Dockerfile.
func Read(path string) (*Dockerfile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the Dockerfile: %w", err)
	}
	d := &Dockerfile{Config: Config{ExposedPorts: make(map[string]struct{}), Labels: make(map[string]string)}}
	stage := 0
	for line := range strings.SplitSeq(strings.ReplaceAll(string(text), "\\\n", " "), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		switch {
		case word == "FROM":
			stage++
			err = d.from(stage, rest)
		case stage == 1:
			if word == "RUN" && strings.Contains(rest, "go build") {
				d.Command = rest
			}
		default:
			err = d.instruction(word, rest)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %s: %w", path, line, err)
		}
	}
	if stage != 2 || d.Command == "" || len(d.Copies) == 0 {
		return nil, fmt.Errorf("read %s: no stage that calls go build and one from scratch that copies from it", path)
	}
	return d, nil
}

func (d *Dockerfile) from(stage int, rest string) error {
	switch {
	case stage == 1:
		base, name, _ := strings.Cut(rest, " AS ")
		if name != "build" {
			return errors.New("the first stage is not called build")
		}
		d.Base = base
	case rest != "scratch":
		return errors.New("the last stage is not from scratch")
	}
	return nil
}

var errUnknown = errors.New("not understood")

// instruction is one of the stage from scratch.
func (d *Dockerfile) instruction(word, rest string) error {
	switch word {
	case "COPY":
		words := strings.Fields(rest)
		if len(words) != 3 || words[0] != "--from=build" || !strings.HasPrefix(words[1], "/") || !strings.HasPrefix(words[2], "/") {
			return errUnknown
		}
		d.Copies = append(d.Copies, Copy{words[1], words[2]})
	case "USER":
		d.Config.User = rest
	case "EXPOSE":
		d.Config.ExposedPorts[rest+"/tcp"] = struct{}{}
	case "ENTRYPOINT":
		return json.Unmarshal([]byte(rest), &d.Config.Entrypoint)
	case "CMD":
		return json.Unmarshal([]byte(rest), &d.Config.Cmd)
	case "LABEL":
		return d.label(rest)
	default:
		return errUnknown
	}
	return nil
}

// label reads key="value" pairs, whose values have no quotes of their own.
func (d *Dockerfile) label(rest string) error {
	for rest != "" {
		key, after, found := strings.Cut(rest, `="`)
		value, next, closed := strings.Cut(after, `"`)
		if !found || !closed {
			return errUnknown
		}
		d.Config.Labels[key] = value
		rest = strings.TrimSpace(next)
	}
	return nil
}
