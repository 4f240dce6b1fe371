package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/preflight"
	"github.com/awa-counterd/awa-counterd/internal/provision"
)

type doctorCmd struct {
	database `embed:""`
	objects  `embed:""`

	Role string `placeholder:"NAME" env:"-" help:"Role that the daemon will run as. Default: the role of this connection."`
	JSON bool   `env:"-" help:"Print the checks as JSON."`
}

// Validate is called by the flag parser.
func (c *doctorCmd) Validate() error { return c.validate() }

// findingsError is what doctor ends with when a check failed, or could not be made.
type findingsError struct{ failed, unchecked int }

func (e *findingsError) Error() string {
	return fmt.Sprintf("requirements not met: %d, could not be checked: %d", e.failed, e.unchecked)
}

// Run is called by the flag parser.
func (c *doctorCmd) Run(ctx context.Context, s streams) error {
	source, conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	schema, err := c.schema(ctx, conn)
	if err != nil {
		return &pg.Refusal{Problem: err.Error(), Remedy: "name awa's schema with --schema", Err: err}
	}
	names, stored, err := inUse(ctx, conn, schema, provision.Names{Slot: c.Slot, Publication: c.Publication, Role: c.Role})
	if err != nil {
		return err
	}
	if names.Role == "" {
		names.Role = source.User()
	}
	checks, err := preflight.Doctor(ctx, preflight.Target{
		Conn: conn, Role: names.Role, Schema: schema, Slot: names.Slot, SlotStored: stored, Publication: names.Publication, Trust: true, FindsSchema: c.Schema == "",
	})
	if err != nil {
		return err
	}
	found := &findingsError{}
	for _, ch := range checks {
		switch ch.Verdict {
		case preflight.Failed:
			found.failed++
		case preflight.Unchecked:
			found.unchecked++
		}
	}
	if c.JSON {
		err = encode(s.out, map[string]any{"schema": schema, "role": names.Role, "checks": checks, "wanting": found.failed, "could_not_look": found.unchecked})
	} else {
		_, err = fmt.Fprint(s.out, renderChecks(checks, found))
	}
	if err == nil && found.failed+found.unchecked > 0 {
		err = found
	}
	return err
}

func renderChecks(checks []preflight.Check, found *findingsError) string {
	var b strings.Builder
	for _, ch := range checks {
		mark := map[preflight.Verdict]string{preflight.Passed: "✔", preflight.Failed: "✘", preflight.Unchecked: "?"}[ch.Verdict]
		fmt.Fprintf(&b, "%s %s", mark, ch.Name)
		if ch.Detail != "" {
			fmt.Fprintf(&b, ": %s", ch.Detail)
		}
		b.WriteString("\n")
		if ch.Remedy != "" {
			fmt.Fprintf(&b, "    %s\n", ch.Remedy)
		}
	}
	fmt.Fprintf(&b, "%d checks, not met: %d, could not be checked: %d\n", len(checks), found.failed, found.unchecked)
	return b.String()
}

// exit is 3 when a check failed, 1 when some could not be made and none failed.
func (e *findingsError) exit() int {
	if e.failed > 0 {
		return exitDrift
	}
	return exitFailed
}
