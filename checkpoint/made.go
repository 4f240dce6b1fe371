package checkpoint

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// notYet is the position of a checkpoint that is yet to be written. All that it says is what the daemon has made, or is about to make:
// should it die before the first one, the replication slot must be found by whatever name, or it would keep WAL for nobody.
const notYet = "0/0"

// Made is what a daemon works with outside of schema awa_counterd, on behalf of an awa schema.
type Made struct {
	Slot         string   // "" where nothing is known
	Publication  string   // what the first one is called now; "" where it is gone
	Publications []uint32 // by OID; some may be gone, and others may use them as well
}

// ReadMade reads it, from the first moment in which a replication slot may be there; also from tables of another form.
func ReadMade(ctx context.Context, c Conn, awaSchema string) (m Made, err error) {
	there, err := has(ctx, c, checkpointTable)
	if err != nil || !there {
		return m, err
	}
	// A copy of a database names the replication slot of the original. The OID of a publication says nothing in another cluster.
	err = c.QueryRow(ctx, `select case when exists (select 1 from pg_replication_slots r where r.slot_name = k.slot_name and r.database <> current_database())
			then '' else k.slot_name end, coalesce((select p.pubname::text from pg_publication p where p.oid = here.publications[1]), ''), here.publications
		from `+checkpointsOfAnyBuild+` k, pg_control_system() s,
			lateral (select case when s.system_identifier::text = k.system_identifier then k.publications else '{}' end as publications) here
		where k.awa_schema = $1`, awaSchema).Scan(&m.Slot, &m.Publication, &m.Publications)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return m, fmt.Errorf("look which replication slot and publication the daemon has: %w", err)
	}
	return m, nil
}

// announce says what this daemon makes next, where there is no checkpoint.
func (s *Store) announce(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `
		insert into awa_counterd.checkpoint (awa_schema, position, persisted_by, slot_name, publications, system_identifier,
			timeline, relations, last_token, unseen_xids, trusted, reason, publication_state, awa_shape)
		values ($1, '`+notYet+`', $2, $3, $4, $5, $6, $7, 0, '{}', false, '', $8, $9)`,
		s.awaSchema, s.instance, s.identity.Slot, s.identity.Publications, s.identity.SystemIdentifier,
		s.identity.Timeline, s.identity.Relations, s.identity.PublicationState, s.identity.Shape)
	return err
}

// withdraw makes room for the first checkpoint.
func (s *Store) withdraw(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `delete from awa_counterd.checkpoint where awa_schema = $1 and position = '`+notYet+`'`, s.awaSchema)
	return err
}

// UsedByOthers lists those of the publications, by OID, that a daemon of another awa schema works with; also from tables of another form.
func UsedByOthers(ctx context.Context, c Conn, awaSchemas []string, publications []uint32) (used []uint32, err error) {
	there, err := has(ctx, c, checkpointTable)
	if err != nil || !there {
		return nil, err
	}
	err = c.QueryRow(ctx, `select array(select p from unnest($2::oid[]) p where exists (select 1 from `+checkpointsOfAnyBuild+` k, pg_control_system() s
		where k.awa_schema <> all($1) and p = any(k.publications) and s.system_identifier::text = k.system_identifier))`, awaSchemas, publications).Scan(&used)
	if err != nil {
		return nil, fmt.Errorf("look who uses a publication: %w", err)
	}
	return used, nil
}

// CheckTells refuses a role that may read the checkpoints that are there, and not whether they are of this cluster: the replication slot and
// the publications of daemons would pass for nobody's. Where it may not read them either, or there are none, they tell nothing.
func CheckTells(ctx context.Context, c Conn) error {
	there, err := has(ctx, c, checkpointTable)
	if err != nil || !there {
		return err
	}
	var user string
	var blind bool
	err = c.QueryRow(ctx, `select current_user::text, exists (select 1 from `+checkpointsOfAnyBuild+` k) and not has_function_privilege('pg_control_system()', 'EXECUTE')`).Scan(&user, &blind)
	switch {
	case pg.IsDenied(err):
		return nil
	case err != nil:
		return fmt.Errorf("look whether checkpoints are of this cluster: %w", err)
	case blind:
		return pg.Refuse("as a superuser run: GRANT EXECUTE ON FUNCTION pg_control_system() TO "+pgx.Identifier{user}.Sanitize(),
			"nothing was changed: role %s lacks EXECUTE on pg_control_system(), without which it cannot be told what daemons work with", user)
	}
	return nil
}
