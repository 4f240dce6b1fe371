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

// asked is the role in checks, which is their first parameter.
const asked = "$1::text"

// needs are the rights on awa's objects that the daemon does not work without.
func (v *visit) needs() []awa.Need {
	var out []awa.Need
	if v.FindsSchema {
		out = awa.ActiveSchemaNeeds(v.Schema, asked)
	}
	if v.DryRun {
		return append(v.Layout.ReadingNeedsOf(asked), out...)
	}
	return append(v.Layout.NeedsOf(asked, v.Trust), out...)
}

func rights(ctx context.Context, v *visit) (out []Finding) {
	for _, need := range v.needs() {
		has, err := v.has(ctx, need.Check)
		f := found("right: "+need.What, err, has, "", grantSQL(need.Grant, v.Role))
		if err == nil && !has {
			f[0].Refusal = lacksRight(v.Role, need.Grant)
		}
		out = append(out, f...)
	}
	return append(out, wideMarker(ctx, v)...)
}

// wideMarker is what setup granted before awa's migration had made the marker's column, and nobody has narrowed. A daemon works with it.
func wideMarker(ctx context.Context, v *visit) []Finding {
	wide, column := awa.MarkerCame(v.Schema, asked)
	if there, err := v.isWide(ctx, wide); err != nil || !there { // a role that may not look at what was granted has rights enough all the same
		return nil
	}
	return found("right: "+wide.What, nil, false, "granted before awa's migration; now "+column.What+" will do", "awa-counterd setup --role "+v.Role)
}

func (v *visit) isWide(ctx context.Context, wide awa.Need) (bool, error) {
	if v.Layout == nil || !v.Layout.HasMarker {
		return false, nil
	}
	return v.granted(wide).Remembered(ctx, v.Conn)
}

// planRights grants what the role lacks, and remembers that.
func planRights(ctx context.Context, v *visit) ([]Step, error) {
	if v.Role == "" {
		return nil, nil
	}
	needs := awa.EarlyNeeds(v.Schema, asked)
	if v.Layout != nil {
		needs = append(v.Layout.NeedsOf(asked, true), awa.ActiveSchemaNeeds(v.Schema, asked)...)
	}
	needs = append(needs, awa.MarkerToCome(v.Schema, asked)...)
	var steps []Step
	for _, need := range needs {
		missing, err := v.missing(ctx, need)
		if err != nil {
			return nil, err
		}
		for _, m := range missing {
			steps = append(steps, Step{What: "grant " + m.What, SQL: grantSQL(m.Grant, v.Role) + ";\n" + v.granted(m).RememberSQL()})
		}
		if len(missing) > 0 {
			continue
		}
		shared, err := v.granted(need).ForAnother(ctx, v.Conn)
		if err != nil {
			return nil, err
		}
		if shared {
			steps = append(steps, Step{What: "remember that it needs " + need.What, SQL: v.granted(need).RememberSQL()})
		}
	}
	narrow, err := planNarrow(ctx, v)
	return append(steps, narrow...), err
}

// planNarrow has the right on the marker's column take the place of the one on its table. To revoke that takes the column's as well, so it
// comes first.
func planNarrow(ctx context.Context, v *visit) ([]Step, error) {
	wide, column := awa.MarkerCame(v.Schema, asked)
	if there, err := v.isWide(ctx, wide); err != nil || !there {
		return nil, err
	}
	return []Step{{
		What: "narrow " + wide.What + " to " + column.What,
		SQL: strings.Join([]string{
			fmt.Sprintf("REVOKE %s FROM %s", wide.Grant, quote(v.Role)), v.granted(wide).ForgetSQL(), grantSQL(column.Grant, v.Role), v.granted(column).RememberSQL(),
		}, ";\n"),
	}}, nil
}

func (v *visit) has(ctx context.Context, check string) (has bool, err error) {
	if err := v.queryRow(ctx, `select `+check, []any{v.Role}, &has); err != nil {
		return false, fmt.Errorf("look at the rights of %s: %w", v.Role, err)
	}
	return has, nil
}

// missing takes a need apart where the role has some of it already: what it had is not ours to revoke.
func (v *visit) missing(ctx context.Context, need awa.Need) (out []awa.Need, err error) {
	if has, err := v.has(ctx, need.Check); err != nil || has {
		return nil, err
	}
	for _, part := range need.Parts {
		has, err := v.has(ctx, part.Check)
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

// granted is a need as it is remembered.
func (v *visit) granted(n awa.Need) checkpoint.Granted {
	return checkpoint.Granted{AwaSchema: string(v.Schema), Role: v.Role, Grant: n.Grant}
}

// ownSchema looks whether schema awa_counterd is there, or may be made; one that somebody else has made is not the daemon's.
func ownSchema(ctx context.Context, v *visit) []Finding {
	const name = "schema " + checkpoint.SchemaName
	err := checkpoint.CheckOwner(ctx, v.Conn, v.Role, v.Layout.Rows)
	if refusal, ok := errors.AsType[*pg.Refusal](err); ok {
		out := found(name, nil, false, refusal.Problem, refusal.Remedy)
		out[0].Refusal = refusal
		return out
	}
	there, others := false, ""
	if err == nil {
		there, err = checkpoint.Exists(ctx, v.Conn)
	}
	if err == nil && there {
		return found(name, nil, true, "is there", "")
	}
	if err == nil {
		others, err = checkpoint.OtherForm(ctx, v.Conn, string(v.Schema))
	}
	if err == nil && others != "" {
		return v.ownSchemaOfAnotherBuild(ctx, name, others)
	}
	if v.NoSetup { // who makes it is refused at its place
		return found(name, err, false, "is missing, and with --no-setup the daemon does not create it", "awa-counterd setup --role "+v.Role)
	}
	var may bool
	var db string
	if err == nil {
		err = v.queryRow(ctx, `select has_database_privilege($1::text, current_database(), 'create'), current_database()`, []any{v.Role}, &may, &db)
	}
	return orRefuse(found(name, err, may, map[bool]string{true: "is missing; the daemon creates it", false: "is missing, and the role may not create it"}[may], "awa-counterd setup --role "+v.Role),
		"run: "+grantSQL("CREATE ON DATABASE "+quote(db), v.Role), "role %s may not create the schema %s", v.Role, checkpoint.SchemaName)
}

// ownSchemaOfAnotherBuild looks whether the daemon may create tables again that are in another form.
func (v *visit) ownSchemaOfAnotherBuild(ctx context.Context, name, others string) []Finding {
	const remedy = "awa-counterd setup --role "
	if v.NoSetup {
		return found(name, nil, false, others+", and with --no-setup the daemon does not create its own", remedy+v.Role)
	}
	var may bool
	err := v.queryRow(ctx, `select has_schema_privilege($1::text, n.oid, 'create') and coalesce(bool_and(pg_has_role($1::text, c.relowner, 'usage')), true)
		from pg_namespace n left join pg_class c on c.relnamespace = n.oid and c.relkind = 'r' where n.nspname = $2 group by n.oid`,
		[]any{v.Role, checkpoint.SchemaName}, &may)
	then := "; the daemon drops them and creates its own when no daemon of that version leads"
	if !may {
		then = ", and the role, which does not own them, may not create its own"
	}
	return orRefuse(found(name, err, may, others+then, remedy+v.Role),
		"let a DBA run: "+remedy+v.Role, "%s, and role %s, which does not own them, may not create its own", others, v.Role)
}

func planOwnSchema(ctx context.Context, v *visit) ([]Step, error) {
	rows := uint32(0)
	if v.Layout != nil {
		rows = v.Layout.Rows
	}
	if err := checkpoint.CheckOwner(ctx, v.Conn, v.Role, rows); err != nil {
		return nil, err
	}
	there, err := checkpoint.Complete(ctx, v.Conn)
	if err != nil || there {
		return nil, err
	}
	ddl, err := checkpoint.SchemaScript(ctx, v.Conn, string(v.Schema))
	if err != nil {
		return nil, err
	}
	return []Step{{What: "create schema " + checkpoint.SchemaName, SQL: strings.TrimSuffix(strings.TrimSpace(ddl), ";")}}, nil
}

// ownRights looks at the rights on schema awa_counterd, where there is one that this role did not make.
func ownRights(ctx context.Context, v *visit) []Finding {
	const name = "rights on schema " + checkpoint.SchemaName
	there, err := checkpoint.Exists(ctx, v.Conn)
	if err == nil && !there {
		return nil
	}
	var lacks []string
	for _, r := range checkpoint.Rights() {
		if err != nil || !r.Needed {
			continue
		}
		var has bool
		if has, err = v.has(ctx, r.Check); err == nil && !has {
			lacks = append(lacks, r.Grant)
		}
	}
	return found(name, err, len(lacks) == 0, map[bool]string{false: "role " + v.Role + " lacks " + strings.Join(lacks, "; ")}[len(lacks) == 0], "awa-counterd setup --role "+v.Role)
}

func planOwnRights(ctx context.Context, v *visit) (steps []Step, err error) {
	if v.Role == "" {
		return nil, nil
	}
	there, err := checkpoint.Complete(ctx, v.Conn)
	if err != nil {
		return nil, err
	}
	for _, r := range checkpoint.Rights() {
		has := false
		if there {
			if has, err = v.has(ctx, r.Check); err != nil {
				return nil, err
			}
		}
		if !has {
			steps = append(steps, Step{What: "grant " + r.Grant, SQL: grantSQL(r.Grant, v.Role)})
		}
	}
	return steps, nil
}
