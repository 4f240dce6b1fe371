package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// release is set by the Makefile: -X main.release=…
var release = "dev"

// commit is set by the Makefile; a plain `go build` leaves it to the build info.
var commit = ""

type versionCmd struct {
	JSON bool `env:"-" help:"Print it as JSON."`
}

// versionReport is the documented shape of `version --json`; fields are only ever added.
type versionReport struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// Run is called by the flag parser.
func (v versionCmd) Run(s streams) error {
	if v.JSON {
		return encode(s.out, versionReport{version(), revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH})
	}
	_, err := fmt.Fprintf(s.out, "awa-counterd %s\ncommit %s\n%s\n", version(), revision(), runtime.Version())
	return err
}

func version() string { return release }

func revision() string {
	if commit != "" {
		return commit
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}
