package e2e

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

const ledgerPublication = "awa_counterd_awa_ledger"

// What keeps a daemon from hearing of the ledger is noticed as what keeps it from hearing of rows: the second publication
// is dropped or altered under it, and put right by whoever did it or by the daemon itself.
func TestLedgersPublicationChangesWhileRunning(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change string
		says   string
		mend   string // "": the daemon sees to it
	}{
		"dropped":           {"drop publication " + ledgerPublication, ledgerPublication, ""}, // by the stream or by the daemon's look, whichever is first
		"dropped and made":  {"drop publication " + ledgerPublication + "; create publication " + ledgerPublication + " for table awa.queue_terminal_count_deltas with (publish = 'insert, truncate')", "a publication was dropped and created again", ""},
		"altered and back":  {"alter publication " + ledgerPublication + " set (publish = 'insert'); alter publication " + ledgerPublication + " set (publish = 'insert, truncate')", "a publication was altered", ""},
		"without the table": {"alter publication " + ledgerPublication + " drop table awa.queue_terminal_count_deltas", "does not publish awa.queue_terminal_count_deltas_0", ""},
		"without TRUNCATE": {
			"alter publication " + ledgerPublication + " set (publish = 'insert')", "does not publish all of insert, truncate",
			"alter publication " + ledgerPublication + " set (publish = 'insert, truncate')",
		},
		"with DELETE": {
			"alter publication " + ledgerPublication + " set (publish = 'insert, delete, truncate')", "publishes updates or deletes of tables without a primary key",
			"alter publication " + ledgerPublication + " set (publish = 'insert, truncate')",
		},
		"via root": {
			"alter publication " + ledgerPublication + " set (publish_via_partition_root = true)", ledgerPublication + " publishes via the partition root",
			"alter publication " + ledgerPublication + " set (publish_via_partition_root = false)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			d := e.daemon("--checkpoint-interval", "200ms")
			e.marker(true, 20*time.Second)
			e.insertAt(1, "q", 7, true)
			e.exec(c.change)
			e.ended(d, c.says)
			if c.mend != "" {
				e.marker(false, 5*time.Second)
				e.insertAt(1, "q", 5, true) // of which no stream tells whole
				e.exec(c.mend)
			}
			e.insertAt(1, "q", 3, false)
			e.do(true, func(tx pgx.Tx, w fleet.Writer) error { return w.Prune(t.Context(), tx, 2) })
			e.marker(true, 20*time.Second)
			e.balanced(5 * time.Second)
			e.foldAll()
			e.balanced(5 * time.Second)
			e.noMismatch(d)
		})
	}
}

// A second publication of that name that would not do is refused with the statement that mends it, and setup refuses it as well.
func TestRefusesTheLedgersPublication(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		with  string
		wants string
		mend  string
	}{
		"with DELETE": {
			"publish = 'insert, delete, truncate'", "publishes updates or deletes of tables without a primary key, under which awa's own statements on them fail",
			`ALTER PUBLICATION "awa_counterd_awa_ledger" SET (publish = 'insert, truncate')`,
		},
		"via root": {
			"publish = 'insert, truncate', publish_via_partition_root", "publishes via the partition root",
			`ALTER PUBLICATION "awa_counterd_awa_ledger" SET (publish_via_partition_root = false)`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			e.exec("create publication " + ledgerPublication + " for table awa.queue_terminal_count_deltas with (" + c.with + ")")
			refuses(t, refused, e.url(), nil, c.wants, c.mend)
			code, _, errs := e.command("setup")
			require.Equal(t, refused, code, errs)
			require.Contains(t, errs, c.mend)
			code, out, _ := e.command("doctor")
			require.Equal(t, 3, code, out)
			require.Contains(t, out, c.mend)
			e.mended(c.mend)
		})
	}
}
