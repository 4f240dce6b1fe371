package replication

import (
	"testing"
	"testing/synctest"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

func TestStartSaysWhatItWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := connected(t)
		require.Equal(t, "database", w.startup["replication"])
		require.Equal(t, pg.ApplicationName(pg.StreamRole), w.startup["application_name"])
		system, err := s.Identify(t.Context())
		require.NoError(t, err)
		require.Equal(t, System{ID: "7000000000000000001", Timeline: 1, End: walEnd, Database: "app"}, system)
		require.EqualValues(t, 4711, s.PID())
		require.NoError(t, s.Start(t.Context(), "awa_slot", []string{`a'b"c`, "d"}, origin, decoder.New(stranger{}, "awa-counterd")))
		commands := w.asked()
		require.Equal(t, `START_REPLICATION SLOT awa_slot LOGICAL 0/1000 `+
			`(proto_version '2', streaming 'on', messages 'true', publication_names '"a''b""c","d"')`, commands[len(commands)-1])
	})
}

// A replication slot that is asked to begin past the end is deaf for good; the server does not say so.
func TestStartIsNeverPastTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := connected(t)
		_, err := s.Identify(t.Context())
		require.NoError(t, err)
		d := decoder.New(stranger{}, "awa-counterd")
		require.ErrorIs(t, s.Start(t.Context(), "s", []string{"p"}, walEnd+1, d), ErrPastEnd)
		require.NotContains(t, w.asked()[len(w.asked())-1], "START_REPLICATION")
		require.NoError(t, s.Start(t.Context(), "s", []string{"p"}, walEnd, d))
	})
}

func TestStartIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := connected(t)
		w.refusals["START_REPLICATION"] = []*pgproto3.ErrorResponse{{Severity: "ERROR", Code: "55006", Message: `replication slot "s" is active for PID 17`}}
		_, err := s.Identify(t.Context())
		require.NoError(t, err)
		err = s.Start(t.Context(), "s", []string{"p"}, origin, decoder.New(stranger{}, "awa-counterd"))
		require.True(t, pg.IsInUse(err), "%v", err)
		require.ErrorContains(t, err, "slot s")
	})
}

// What the client has read together with the answer to START_REPLICATION belongs to the stream.
func TestFirstMessagesComeWithTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := connected(t)
		w.eager = append(transactions(origin, 3), keepalive(origin+0x100, false))
		r := start(t, w, s, 16)
		r.send(t, transactions(origin+0x100, 1)...)
		require.Equal(t, lsns(0x1010, 0x1020, 0x1030, 0x1110), ends(r.batches()))
	})
}

// A lock timeout bounds one wait for the transactions that are open, not the making of the replication slot.
func TestSlotIsMadeInTheEnd(t *testing.T) {
	busy := &pgproto3.ErrorResponse{Severity: "ERROR", Code: "55P03", Message: "canceling statement due to lock timeout"}
	synctest.Test(t, func(t *testing.T) {
		w, s := connected(t)
		w.refusals["CREATE_REPLICATION_SLOT"] = []*pgproto3.ErrorResponse{busy, busy}
		at, err := SlotCreation{Name: "s"}.Temporary(t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, origin, at)
		commands := w.asked()
		require.Equal(t, "CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT", commands[len(commands)-1])
	})
}

func TestSlotIsNotMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := connected(t)
		w.refusals["CREATE_REPLICATION_SLOT"] = []*pgproto3.ErrorResponse{
			{Severity: "ERROR", Code: "53400", Message: "all replication slots are in use"},
			{Severity: "ERROR", Code: "42501", Message: "permission denied to use replication slots"},
		}
		var refusal *pg.Refusal
		_, err := SlotCreation{Name: "s"}.Temporary(t.Context(), s)
		require.ErrorAs(t, err, &refusal)
		require.Contains(t, refusal.Remedy, "max_replication_slots")
		_, err = SlotCreation{Name: "s"}.Temporary(t.Context(), s)
		require.True(t, pg.IsDenied(err), "%v", err)
	})
}
