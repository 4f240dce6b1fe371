package provision

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// lacking is what a role lacks of what a command takes.
type lacking struct {
	what   []string // for people
	grants []string // statements
	owners []string // roles that have all of it
}

// Reconciles refuses a role that may not do all that reconcile does, before it does any of it.
func Reconciles(ctx context.Context, c *pgx.Conn, l *awa.Layout, does awa.Operation, marker bool) error {
	var lacks lacking
	user, err := lacks.rights(ctx, c, l.OperatorNeedsOf("current_user", does, marker))
	if err != nil {
		return err
	}
	return lacks.refusal(user)
}

// Finishes refuses a role that may not do all that finish does, before it does any of it: to correct, to set the marker, to ask daemons to
// leave, and to remove what awa-counterd has made (Teardown).
func Finishes(ctx context.Context, c *pgx.Conn, l *awa.Layout, n Names) error {
	var lacks lacking
	user, err := lacks.rights(ctx, c, l.OperatorNeedsOf("current_user", awa.Corrects, true))
	if err != nil {
		return err
	}
	there, err := checkpoint.Exists(ctx, c)
	if pg.IsDenied(err) { // then it is there: the right to look into it is among those that are missing
		there, err = true, nil
	}
	if err != nil || !there { // no daemon has ever run here: that is refused as such
		return err
	}
	if _, err := lacks.rights(ctx, c, needed(checkpoint.Rights(), nil)); err != nil {
		return err
	}
	if len(lacks.what) > 0 { // without these it cannot be known what there is to remove
		return lacks.refusal(user)
	}
	known, err := readPlaces(ctx, c)
	if err != nil {
		return err
	}
	var database string
	if err := c.QueryRow(ctx, `select current_database()`).Scan(&database); err != nil {
		return fmt.Errorf("name the database: %w", err)
	}
	all, swept, err := everyName(ctx, c, database, known, n)
	if err != nil {
		return err
	}
	every := slices.Concat(all, swept)
	if err := lacks.replication(ctx, c, every, user); err != nil {
		return err
	}
	removal, _, err := checkpoint.PlanRemoval(ctx, c, schemasOf(every), known.there())
	if err != nil {
		return err
	}
	if err := lacks.ownership(ctx, c, l, n, schemasOf(every), removal); err != nil {
		return err
	}
	if err := lacks.deleting(ctx, c, all, removal); err != nil {
		return err
	}
	return lacks.refusal(user)
}

// needed are those of the rights without which nothing works, unless this role has to be a member of one that has them.
func needed(rights []checkpoint.Right, of []string) (out []awa.Need) {
	for _, r := range rights {
		if !r.Needed {
			continue
		}
		may := []string{strings.ReplaceAll(r.Check, "$1::text", "current_user")}
		for _, role := range of {
			may = append(may, strings.ReplaceAll(r.Check, "$1::text", "'"+strings.ReplaceAll(role, "'", "''")+"'"))
		}
		out = append(out, awa.Need{Grant: r.Grant, What: r.Grant, Check: strings.Join(may, " or ")})
	}
	return out
}

// rights looks for those that are missing.
func (k *lacking) rights(ctx context.Context, c *pgx.Conn, needs []awa.Need) (user string, err error) {
	if err := c.QueryRow(ctx, `select current_user::text`).Scan(&user); err != nil {
		return "", fmt.Errorf("look who the current user is: %w", err)
	}
	for _, need := range needs {
		has := false
		err := c.QueryRow(ctx, `select `+need.Check).Scan(&has)
		if err != nil && !pg.IsDenied(err) { // denied is a table in a schema that it may not use
			return "", fmt.Errorf("look at the rights of this role: %w", err)
		}
		if !has {
			k.what = append(k.what, need.What)
			k.grants = append(k.grants, fmt.Sprintf("GRANT %s TO %s", need.Grant, quote(user)))
		}
	}
	return user, nil
}

// replication looks whether there will be a replication slot to drop: one that is temporary goes with its daemon.
func (k *lacking) replication(ctx context.Context, c *pgx.Conn, every []Names, user string) error {
	var names []string
	for _, one := range every {
		names = append(names, one.Slot)
	}
	drops := false
	if err := c.QueryRow(ctx, `select exists (select 1 from pg_replication_slots where slot_name = any($1) and not temporary)`, names).Scan(&drops); err != nil {
		return fmt.Errorf("look for replication slots: %w", err)
	}
	if !drops {
		return nil
	}
	right, err := pg.ReadStreamRight(ctx, c, user)
	if err == nil && !right.May {
		k.what, k.grants = append(k.what, "REPLICATION"), append(k.grants, right.Remedy)
	}
	return err
}

// deleting looks whether what Teardown deletes may be deleted: what is stored in tables that stay, and what remembers grants.
func (k *lacking) deleting(ctx context.Context, c *pgx.Conn, all []Names, removal []checkpoint.Removal) error {
	stay := slices.ContainsFunc(removal, func(r checkpoint.Removal) bool { return !r.Drops })
	forgets := false
	for _, n := range all {
		granted, err := checkpoint.GrantsOf(ctx, c, string(n.Schema), n.Role)
		if err != nil {
			return err
		}
		forgets = forgets || len(granted) > 0
	}
	if !stay && !forgets {
		return nil
	}
	rights, err := checkpoint.DeletingRights(ctx, c, stay)
	if err != nil {
		return err
	}
	_, err = k.rights(ctx, c, needed(rights, k.owners))
	return err
}

// ownership looks whose the objects are that Teardown drops.
func (k *lacking) ownership(ctx context.Context, c *pgx.Conn, l *awa.Layout, n Names, mine []string, removal []checkpoint.Removal) error {
	all, err := publications(ctx, c, n, mine)
	if err != nil {
		return err
	}
	var drops []string
	for _, p := range all {
		if p.ours() {
			drops = append(drops, p.Name)
		}
	}
	granted, err := checkpoint.GrantsOf(ctx, c, string(n.Schema), n.Role)
	if err != nil {
		return err
	}
	whole := slices.ContainsFunc(removal, func(r checkpoint.Removal) bool { return r.Drops })
	rows, err := c.Query(ctx, `select what, r.rolname::text from (
			select 'publication ' || pubname as what, pubowner as owner from pg_publication where pubname = any($1)
			union all select 'schema ' || nspname, nspowner from pg_namespace where nspname = $2 and $3
			union all select 'awa''s tables, on which setup granted rights', relowner from pg_class where oid = $4 and $5) o
		join pg_roles r on r.oid = o.owner where not pg_has_role(current_user, o.owner, 'usage') order by 1`,
		append([]string{}, drops...), checkpoint.SchemaName, whole, l.Rows, len(granted) > 0)
	if err != nil {
		return fmt.Errorf("look whose it is: %w", err)
	}
	var what, owner string
	_, err = pgx.ForEachRow(rows, []any{&what, &owner}, func() error {
		k.what = append(k.what, "the ownership of "+what)
		if !slices.Contains(k.owners, owner) {
			k.owners = append(k.owners, owner)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look whose it is: %w", err)
	}
	return nil
}

// refusal is nil where nothing is missing.
func (k *lacking) refusal(user string) error {
	if len(k.what) == 0 {
		return nil
	}
	grants := slices.Clone(k.grants)
	for _, owner := range k.owners {
		grants = append(grants, fmt.Sprintf("GRANT %s TO %s", quote(owner), quote(user)))
	}
	remedy := "run: " + strings.Join(grants, "; ")
	if len(k.owners) > 0 {
		remedy = fmt.Sprintf("run it as role %s, or %s", strings.Join(k.owners, " or "), remedy)
	}
	return pg.Refuse(remedy, "nothing was changed: role %s lacks %s", user, strings.Join(k.what, ", "))
}
