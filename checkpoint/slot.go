package checkpoint

import (
	"context"
	"fmt"
)

// slotKey is the key text of the session advisory lock of who works with a replication slot.
func slotKey(slot string) string { return "awa_counterd.slot:" + slot }

// TakeSlot makes this session the only one of a daemon that works with a replication slot. It is false when another one does, on
// behalf of an awa schema; "" where that is not known.
func TakeSlot(ctx context.Context, c Conn, slot string) (taken bool, schema string, err error) {
	if err := c.QueryRow(ctx, `select pg_try_advisory_lock(hashtextextended($1, 0))`, slotKey(slot)).Scan(&taken); err != nil {
		return false, "", fmt.Errorf("take replication slot %s: %w", slot, err)
	}
	if taken {
		return true, "", nil
	}
	err = c.QueryRow(ctx, `select coalesce((select l.awa_schema from awa_counterd.leader l, `+advisoryLocks+` k, `+advisoryLocks+` s
		where s.key = hashtextextended($1, 0) and k.pid = s.pid and k.key = hashtextextended($2 || l.awa_schema, 0) limit 1), '')`, slotKey(slot), LockKey("")).Scan(&schema)
	if err != nil {
		return false, "", fmt.Errorf("look who works with replication slot %s: %w", slot, err)
	}
	return false, schema, nil
}
