package preflight

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/replication"
)

// unreadSlotLimit is what another replication slot may hold back before it is worth a word.
const unreadSlotLimit = 1 << 30

func ownSlot(ctx context.Context, v *visit) []Finding {
	s, err := replication.ReadSlot(ctx, v.Conn, v.Slot)
	name := v.Slot
	if v.SlotStored {
		name += " (named by the checkpoint)"
	}
	if errors.Is(err, replication.ErrNoSlot) {
		return found("replication slot", nil, true, name+" does not exist yet; the daemon creates it", "")
	}
	detail, remedy := name+" is "+s.Status, ""
	if s.Lost() {
		detail, remedy = s.Loss()
		detail, remedy = name+" "+detail, "start awa-counterd run, which creates a new one, and "+remedy
	}
	return found("replication slot", err, !s.Lost(), detail, remedy)
}

func otherSlots(ctx context.Context, v *visit) []Finding {
	rows, err := v.Conn.Query(ctx, `select slot_name from pg_replication_slots where slot_name <> $1 and not active and restart_lsn is not null
		and not pg_is_in_recovery() and pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) > $2 order by 1`, v.Slot, int64(unreadSlotLimit))
	var idle []string
	if err == nil {
		idle, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	detail, remedy := "the server keeps no more than 1 GiB of WAL for any replication slot that nobody reads", ""
	if len(idle) > 0 {
		detail, remedy = "nobody reads these, and the server keeps more than 1 GiB of WAL for each: "+strings.Join(idle, ", "), "if nobody needs it: SELECT pg_drop_replication_slot('"+idle[0]+"')"
	}
	return found("other slots", err, len(idle) == 0, detail, remedy)
}

// longTransaction is how old a writing transaction may be before it is worth a word: making a replication slot
// waits for it.
const longTransaction = time.Minute

func longTransactions(ctx context.Context, v *visit) []Finding {
	var n int
	var pid *int32
	var who *string
	err := v.queryRow(ctx, `select count(*), min(pid), min(coalesce(usename, '') || '@' || coalesce(datname, '')) from pg_stat_activity
		where backend_xid is not null and xact_start < clock_timestamp() - $1::interval`, []any{longTransaction}, &n, &pid, &who)
	var hidden int // of other roles every role sees that they write, and not since when
	var looks string
	if err == nil && n == 0 {
		err = v.queryRow(ctx, `select count(*), current_user::text from pg_stat_activity where backend_xid is not null and xact_start is null`, nil, &hidden, &looks)
	}
	if err == nil && hidden > 0 {
		err = fmt.Errorf("%d writing transactions are other roles', and how old they are this role may not see; run: %s", hidden, grantSQL("pg_read_all_stats", looks))
	}
	detail, remedy := "none older than a minute", ""
	if n > 0 && pid != nil {
		detail = fmt.Sprintf("%d writing transactions are older than a minute, one of them of process %d (%s): creating the replication slot waits for them", n, *pid, *who)
		remedy = fmt.Sprintf("end it: SELECT pg_terminate_backend(%d)", *pid)
	}
	return found("long transactions", err, n == 0, detail, remedy)
}

// forgottenTransactions are in nobody's way, until what they keep from being vacuumed is more than everybody can walk.
func forgottenTransactions(ctx context.Context, v *visit) []Finding {
	f, err := pg.FindForgotten(ctx, v.Conn, pg.ForgottenAfter)
	detail, remedy := "none older than 2 hours, as far as this role may see", ""
	if f != nil {
		detail = fmt.Sprintf("process %d (application %q) has had a transaction open for %.1f hours: whatever was updated or deleted since stays, awa's rows and those of awa-counterd included",
			f.PID, f.Application, f.Age/time.Hour.Seconds())
		remedy = fmt.Sprintf("end it: SELECT pg_terminate_backend(%d)", f.PID)
	}
	return found("forgotten transactions", err, f == nil, detail, remedy)
}

func preparedTransactions(ctx context.Context, v *visit) []Finding {
	var n int
	var gid *string
	err := v.queryRow(ctx, `select count(*), min(gid) from pg_prepared_xacts`, nil, &n, &gid)
	detail, remedy := "none", ""
	if n > 0 && gid != nil {
		detail = fmt.Sprintf("%d prepared transactions, one of them %q: creating the replication slot waits for them", n, *gid)
		remedy = fmt.Sprintf("ROLLBACK PREPARED '%s' or COMMIT PREPARED '%s'", *gid, *gid)
	}
	return found("prepared transactions", err, n == 0, detail, remedy)
}
