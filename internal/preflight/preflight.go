package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// Target is what is looked at, and on behalf of what kind of daemon.
type Target struct {
	Conn        *pgx.Conn
	Role        string // who the daemon runs as; "" for the current user, and for setup: nobody is granted anything
	Schema      awa.Schema
	Layout      *awa.Layout // awa's tables; nil while they are not known
	Slot        string
	SlotStored  bool // the checkpoint names it: it has not the default name, and no flag gave it
	Publication string

	Trust       bool // the daemon is to set the marker
	DryRun      bool // it writes nothing of awa's
	NoSetup     bool // it creates nothing
	Failover    bool // its replication slot is carried to standbys
	FindsSchema bool // it asks awa which schema is active
}

// Finding is what a look at a requirement found.
type Finding struct {
	Name   string
	Err    error // why it could not be looked at; the rest is nothing then
	Met    bool
	Detail string // what was found
	Remedy string // the statement, setting or command that mends it; "" where there is none, and where it is met
	// Refusal is what start-up says; nil where it is met, and where start-up does not refuse.
	Refusal *pg.Refusal
}

// Step is one statement of a plan, and what it is for.
type Step struct {
	What string `json:"what"`
	SQL  string `json:"sql"`
	// Clears is the table in which the trust marker is not set afterwards; "" where the statement does something else.
	Clears string `json:"-"`
}

// visit is one look at everything. What several requirements look at is read once.
type visit struct {
	Target

	server *server
}

// Server refuses a server that the daemon cannot work on, or a role that may not stream. An error that is a *pg.Refusal names
// what mends it.
func Server(ctx context.Context, t Target) error { return start(ctx, t, false) }

// Tables refuses awa's tables (Target.Layout) where the daemon cannot do on them what it does.
func Tables(ctx context.Context, t Target) error { return start(ctx, t, true) }

func start(ctx context.Context, t Target, tables bool) error {
	v, err := newVisit(ctx, t)
	if err != nil {
		return err
	}
	for _, r := range Requirements() {
		if !r.Refuses || r.tables != tables {
			continue
		}
		for _, f := range r.look(ctx, v) {
			switch {
			case f.Err != nil:
				return f.Err
			case f.Refusal != nil:
				return f.Refusal
			}
		}
	}
	return nil
}

func newVisit(ctx context.Context, t Target) (*visit, error) {
	v := &visit{Target: t}
	if v.Role == "" {
		if err := v.queryRow(ctx, `select current_user::text`, nil, &v.Role); err != nil {
			return nil, fmt.Errorf("look who the current user is: %w", err)
		}
	}
	return v, nil
}

// Plan is what setup does for a daemon with the least rights. Before awa's migration (Target.Layout is nil) that is schema awa_counterd,
// the rights on it, and one on the table in which the trust marker will be; nothing can be granted or published of what is not there. The replication slot is not part of it: one
// that nobody reads yet would retain WAL, and the daemon needs no further right to make it.
func Plan(ctx context.Context, t Target) ([]Step, error) {
	all := slices.DeleteFunc(Requirements(), func(r Requirement) bool { return !r.Planned() })
	slices.SortFunc(all, func(a, b Requirement) int { return a.turn - b.turn })
	v := &visit{Target: t}
	var out []Step
	for _, r := range all {
		steps, err := r.plan(ctx, v)
		if err != nil {
			return nil, err
		}
		out = append(out, steps...)
	}
	return out, nil
}

func (v *visit) queryRow(ctx context.Context, sql string, args []any, into ...any) error {
	return v.Conn.QueryRow(ctx, sql, args...).Scan(into...)
}

// found is a finding that hangs on one condition, or says that it could not look.
func found(name string, err error, met bool, detail, remedy string) []Finding {
	switch {
	case err != nil:
		return []Finding{{Name: name, Err: err}}
	case met:
		return []Finding{{Name: name, Met: true, Detail: detail}}
	}
	return []Finding{{Name: name, Detail: detail, Remedy: remedy}}
}

// orRefuse gives findings that are not met what start-up says of them.
func orRefuse(all []Finding, remedy, problem string, args ...any) []Finding {
	for i := range all {
		if f := &all[i]; !f.Met && f.Err == nil {
			f.Refusal = pg.Refuse(remedy, problem, args...)
		}
	}
	return all
}

// AsRefusal makes a Refusal of what waiting does not mend; user is the role that it happens to. Any other error is returned as it
// is.
func AsRefusal(err error, user string) error {
	if right, ok := errors.AsType[*awa.RightError](err); ok {
		return lacksRight(user, right.Grant)
	}
	if hidden, ok := errors.AsType[*awa.RowSecurityError](err); ok {
		return hidesRows(user, hidden)
	}
	var shape *awa.ShapeError
	var name *awa.SchemaNameError
	if errors.As(err, &shape) || errors.As(err, &name) {
		return &pg.Refusal{Problem: err.Error(), Err: err}
	}
	return err
}

func lacksRight(user, grant string) *pg.Refusal {
	return pg.Refuse(fmt.Sprintf("as the owner of awa's tables run awa-counterd setup --role %s for all that it needs, or run: %s", user, grantSQL(grant, user)),
		"role %s lacks %s", user, grant)
}

func hidesRows(user string, e *awa.RowSecurityError) *pg.Refusal {
	return &pg.Refusal{
		Problem: fmt.Sprintf("role %s: %s", user, e),
		Remedy:  fmt.Sprintf("run: %s (or ALTER TABLE %s DISABLE ROW LEVEL SECURITY)", bypassSQL(user), e.Tables[0].Table), Err: e,
	}
}

func grantSQL(grant, role string) string { return fmt.Sprintf("GRANT %s TO %s", grant, quote(role)) }

func bypassSQL(role string) string { return fmt.Sprintf("ALTER ROLE %s BYPASSRLS", quote(role)) }

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
