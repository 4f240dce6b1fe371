package replication

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
)

// Only a publication that is skipped makes a replication slot useless; and that is understood in any language.
func TestWarningsOfTheStream(t *testing.T) {
	warning := func(change func(*pgproto3.NoticeResponse)) *pgproto3.NoticeResponse {
		m := &pgproto3.NoticeResponse{Severity: "WARNUNG", SeverityUnlocalized: "WARNING", Code: "55000", Message: "\"p\" wird ausgelassen", Routine: "LoadPublications"}
		change(m)
		return m
	}
	require.True(t, skips(warning(func(*pgproto3.NoticeResponse) {})))
	require.True(t, skips(warning(func(m *pgproto3.NoticeResponse) { m.Code, m.Message = "01000", `skipped loading publication "p"` })))
	require.False(t, skips(warning(func(m *pgproto3.NoticeResponse) { m.SeverityUnlocalized = "NOTICE" })))
	require.False(t, skips(warning(func(m *pgproto3.NoticeResponse) {
		m.Message, m.Routine = `replication slot "publication" specified in parameter "synchronized_standby_slots" does not have active_pid`, "StandbySlotsHaveCaughtup"
	})))
}
