package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/pg"
)

type distrustCmd struct {
	database `embed:""`

	JSON bool `env:"-" help:"Print the result as JSON."`
}

// Validate is called by the flag parser.
func (c *distrustCmd) Validate() error { return c.validate() }

type distrustReport struct {
	Schema  string `json:"schema"`
	Cleared bool   `json:"cleared"` // false: it was not set
	Leader  string `json:"leader,omitempty"`
}

// Run clears the marker. It is safe when nothing runs, and when it is not set: a supervisor's
// post-stop hook can always call it.
func (c *distrustCmd) Run(ctx context.Context, s streams) error {
	_, conn, l, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	r := distrustReport{Schema: string(l.Schema)}
	if l.HasMarker {
		for {
			tag, err := conn.Exec(ctx, l.SetMarker(false, "true"))
			if err == nil {
				r.Cleared = tag.RowsAffected() == 1
				break
			}
			if !pg.IsBusy(err) {
				return fmt.Errorf("clear the marker: %w", err)
			}
		}
	}
	there, err := checkpoint.Exists(ctx, conn)
	if err != nil {
		return err
	}
	if there {
		leader, known, err := checkpoint.ReadLeader(ctx, conn, string(l.Schema))
		if err != nil {
			return err
		}
		if known && leader.Heartbeat < 10*time.Second {
			r.Leader = fmt.Sprintf("%s pid %d", leader.Host, leader.PID)
		}
	}
	return c.print(s, r)
}

func (c *distrustCmd) print(s streams, r distrustReport) error {
	if c.JSON {
		return json.NewEncoder(s.out).Encode(r)
	}
	text := "the marker was not set; readers scan"
	if r.Cleared {
		text = "the marker is cleared; readers scan"
	}
	if r.Leader != "" {
		text += fmt.Sprintf("\na daemon is running (%s): it sets the marker again after a fresh audit; stop it, or run it with --trust off", r.Leader)
	}
	_, err := fmt.Fprintln(s.out, text)
	return err
}
