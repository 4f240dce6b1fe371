package preflight

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// BringTables is what mends awa.ErrNotYet.
const BringTables = "run awa's migrations; awa-counterd run waits for that"

// findTables looks for awa's tables, unless they are known; without them there is nothing more to look at.
func findTables(ctx context.Context, v *visit) (out []Finding) {
	if v.Layout != nil {
		return nil
	}
	if pid, err := awa.Migrator(ctx, v.Conn); err != nil || pid != 0 {
		out = found("awa's migrations", err, pid == 0, fmt.Sprintf("are running at this moment (process %d); awa-counterd run waits until they have ended", pid), "run this again afterwards")
	}
	l, err := awa.Discover(ctx, v.Conn, v.Schema)
	shape, wrong := errors.AsType[*awa.ShapeError](err)
	switch {
	case errors.Is(err, awa.ErrNotYet):
		return append(out, found("awa's tables", nil, false, err.Error(), BringTables)...)
	case wrong:
		return append(out, found("awa's tables", nil, false, shape.Error(), "see the message; --schema names another schema")...)
	case err != nil:
		return append(out, found("awa's tables", err, false, "", "")...)
	}
	v.Layout = l
	out = append(out, found("awa's tables", nil, true, fmt.Sprintf("schema %s, shape %s, %d leaves", l.Schema, l.Describe(), len(l.Leaves)), "")...)
	detail, remedy := "every leaf's changes are streamed, and its deletes carry the key", ""
	err = l.CheckLeaves()
	if err != nil {
		detail, remedy, _ = strings.Cut(err.Error(), "; run: ")
	}
	out = append(out, found("replica identities", nil, err == nil, detail, remedy)...)
	return append(out, found("trust marker", nil, l.HasMarker,
		map[bool]string{true: "the column is there", false: "this awa has no trust marker: the daemon corrects the counters, but readers do not use them"}[l.HasMarker], "run awa's migrations")...)
}

func queueIndex(ctx context.Context, v *visit) []Finding {
	var there bool
	err := v.queryRow(ctx, v.Layout.HasQueueIndex(), nil, &there)
	return found("queue-leading index", err, there, map[bool]string{true: "is there", false: "is missing: awa's reads of one queue scan every counter"}[there], v.Layout.MakeQueueIndex())
}

// bucket looks whether corrections have a counter row to go to that nobody else uses.
func bucket(ctx context.Context, v *visit) []Finding {
	if !v.Layout.Shape.HasBuckets() {
		return nil
	}
	err := v.Layout.CheckBucket(ctx, v.Conn)
	if shape, ok := errors.AsType[*awa.ShapeError](err); ok {
		out := found("counter rows for corrections", nil, false, shape.Reason, "")
		out[0].Refusal = &pg.Refusal{Problem: err.Error(), Err: err}
		return out
	}
	return found("counter rows for corrections", err, true, fmt.Sprintf("bucket %d is free for corrections", awa.OwnBucket), "")
}

func marker(ctx context.Context, v *visit) []Finding {
	if !v.Layout.HasMarker {
		return nil
	}
	var set bool
	err := v.queryRow(ctx, `select `+v.Layout.MarkerIsSet(), nil, &set)
	vouched := false
	if err == nil && set {
		var l checkpoint.Leader
		var known bool
		l, known, err = checkpoint.ReadLeaderIfAny(ctx, v.Conn, string(v.Schema))
		vouched = known && !l.DryRun && l.Heartbeat < checkpoint.AliveWithin
	}
	detail := "not set"
	if set && vouched {
		detail = "set, and a daemon vouches for it"
	} else if set {
		detail = "set, and no daemon vouches for it: wrong if pre-#290 binaries still write"
	}
	return found("trust marker is justified", err, !set || vouched, detail, "awa-counterd distrust")
}

// rowSecurity looks for tables of which the daemon's role would see a part only.
func rowSecurity(ctx context.Context, v *visit) []Finding {
	tables, err := v.Layout.RowSecurityFor(ctx, v.Conn, "$1", v.Role)
	if len(tables) == 0 {
		return found("row level security", err, true, "every row is seen", "")
	}
	out := found("row level security", err, false, listed(tables)+": the daemon would not see these rows and refuses, since counters would become wrong", bypassSQL(v.Role))
	out[0].Refusal = hidesRows(v.Role, &awa.RowSecurityError{Tables: tables})
	return out
}

// triggersAndRules names triggers and rules that can change what is written, or keep corrections from having an effect.
func triggersAndRules(ctx context.Context, v *visit) []Finding {
	there, err := v.Layout.TriggersAndRules(ctx, v.Conn)
	detail, remedy := "none on the tables that awa-counterd reads and writes", ""
	if len(there) > 0 {
		detail = listed(there) + ": not awa's; corrections may be undone or changed"
		remedy = there[0].DropSQL()
	}
	return found("triggers and rules", err, len(there) == 0, detail, remedy)
}

func listed[T fmt.Stringer](all []T) string {
	names := make([]string, 0, len(all))
	for _, one := range all {
		names = append(names, one.String())
	}
	return strings.Join(names, ", ")
}
