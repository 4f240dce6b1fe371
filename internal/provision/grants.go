package provision

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/pg"
)

// ownRights are the rights on our own schema.
func ownRights() (out []awa.Need) {
	for _, r := range checkpoint.Rights() {
		out = append(out, awa.Need{Grant: r.Grant, What: r.Grant, Check: r.Check})
	}
	return out
}

func grants(ctx context.Context, c *pgx.Conn, l *awa.Layout, n Names, schemaThere bool) ([]Step, error) {
	right, err := pg.ReadStreamRight(ctx, c, n.Role)
	if err != nil {
		return nil, err
	}
	if !right.Exists {
		return nil, pg.Refuse("run: "+right.Remedy, "there is no role %s", n.Role)
	}
	var steps []Step
	if !right.May {
		steps = append(steps, Step{"let " + n.Role + " replicate", right.Remedy})
	}
	needs := awa.EarlyNeeds(n.Schema, "$1")
	if l != nil {
		needs = append(l.NeedsOf("$1", true), awa.ActiveSchemaNeed("$1"))
	}
	r := rights{c, n}
	for _, need := range needs {
		missing, err := r.missing(ctx, need)
		if err != nil {
			return nil, err
		}
		for _, m := range missing {
			steps = append(steps, Step{"grant " + m.What, r.grant(m) + ";\n" + r.granted(m).RememberSQL()})
		}
		if len(missing) > 0 || !schemaThere {
			continue
		}
		shared, err := r.granted(need).ForAnother(ctx, c)
		if err != nil {
			return nil, err
		}
		if shared {
			steps = append(steps, Step{"remember that it needs " + need.What, r.granted(need).RememberSQL()})
		}
	}
	for _, need := range ownRights() {
		has := false
		if schemaThere {
			if has, err = r.has(ctx, need); err != nil {
				return nil, err
			}
		}
		if !has {
			steps = append(steps, Step{"grant " + need.What, r.grant(need)})
		}
	}
	return steps, nil
}

// rights are those of one role for one awa schema.
type rights struct {
	c *pgx.Conn
	n Names
}

func (r rights) has(ctx context.Context, need awa.Need) (has bool, err error) {
	if err := r.c.QueryRow(ctx, `select `+need.Check, r.n.Role).Scan(&has); err != nil {
		return false, fmt.Errorf("look at the rights of %s: %w", r.n.Role, err)
	}
	return has, nil
}

// missing takes a need apart where the role has some of it already: what it had is not ours to revoke.
func (r rights) missing(ctx context.Context, need awa.Need) (out []awa.Need, err error) {
	if has, err := r.has(ctx, need); err != nil || has {
		return nil, err
	}
	for _, part := range need.Parts {
		has, err := r.has(ctx, part)
		if err != nil {
			return nil, err
		}
		if !has {
			out = append(out, part)
		}
	}
	if len(out) == len(need.Parts) {
		return []awa.Need{need}, nil
	}
	return out, nil
}

func (r rights) grant(n awa.Need) string {
	return fmt.Sprintf("GRANT %s TO %s", n.Grant, quote(r.n.Role))
}

// granted is a need as it is remembered.
func (r rights) granted(n awa.Need) checkpoint.Granted {
	return checkpoint.Granted{AwaSchema: string(r.n.Schema), Role: r.n.Role, Grant: n.Grant}
}

// planRevokes takes back what setup granted for an awa schema, to one role or to all of them, and nothing that a role had
// besides; what it needs for another schema as well, stays.
func planRevokes(ctx context.Context, c *pgx.Conn, schema awa.Schema, role string) ([]Step, error) {
	all, err := checkpoint.GrantsOf(ctx, c, string(schema), role)
	if err != nil {
		return nil, err
	}
	var steps []Step
	for _, g := range all {
		steps = append(steps, Step{"revoke " + g.Grant + " from " + g.Role, fmt.Sprintf("REVOKE %s FROM %s;\n%s", g.Grant, quote(g.Role), g.ForgetSQL())})
	}
	return steps, nil
}
