package pg

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func source(t *testing.T, url string) *Source {
	t.Helper()
	s, err := ParseSource(url)
	require.NoError(t, err)
	return s
}

// No password gets out, in whatever form the URL is given, and however wrong it is.
func TestNoPasswordGetsOut(t *testing.T) {
	for _, url := range []string{
		"postgres://u:hunter2@h:5432/d", "host=h port=5432 user=u password=hunter2 dbname=d", "host=h port=5432 user=u password='hunter2' dbname=d",
	} {
		s := source(t, url)
		require.Equal(t, "u@h:5432/d", s.Target())
		require.Equal(t, "u", s.User())
	}
	for _, url := range []string{
		"postgres://u:hunter2@h:port/d", "postgres://u:hunter2@h/d?sslmode=perhaps", "host=h password=hunter2 port=many", "host=h password=hunter2 sslmode",
	} {
		_, err := ParseSource(url)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

// A connection behaves the same whatever the URL, the role or the database says: what it was given by its caller, and
// what the books rest on.
func TestSettingsAreTheCallersOwn(t *testing.T) {
	hostile := "postgres://u@h/d?default_transaction_isolation=serializable&statement_timeout=1&lock_timeout=1&row_security=on&search_path=evil&application_name=x"
	s := source(t, hostile)
	bare := s.Config(Settings{Role: ControlRole}).RuntimeParams
	for name, want := range map[string]string{
		"default_transaction_isolation": "read committed", "default_transaction_read_only": "off", "default_transaction_deferrable": "off",
		"lock_timeout": "0", "statement_timeout": "0", "row_security": "off", "search_path": "pg_catalog", "client_encoding": "UTF8",
		"application_name": "awa-counterd control", "synchronous_commit": "local", "idle_in_transaction_session_timeout": "10000",
	} {
		require.Equal(t, want, bare[name], name)
	}
	timed := s.Config(Settings{Role: "command", LockTimeout: 250 * time.Millisecond, StatementTimeout: time.Minute, Holds: true, Async: true}).RuntimeParams
	for name, want := range map[string]string{
		"lock_timeout": "250", "statement_timeout": "60000", "idle_in_transaction_session_timeout": "0", "synchronous_commit": "off",
	} {
		require.Equal(t, want, timed[name], name)
	}
	require.NotEqual(t, "off", bare["synchronous_commit"], "one connection's settings are not another's")
	for _, name := range []string{"idle_session_timeout", "transaction_timeout"} {
		require.NotContains(t, bare, name, "an older server would not let us in")
	}
}

// A walsender that hangs is ended by the server sooner than a person would, and an own machine that vanished frees its
// replication slot within half a minute.
func TestReplicationSessions(t *testing.T) {
	c := source(t, "postgres://u@h/d").ReplicationConfig()
	require.Equal(t, "database", c.RuntimeParams["replication"])
	require.Equal(t, "awa-counterd stream", c.RuntimeParams["application_name"])
	require.Equal(t, "20000", c.RuntimeParams["wal_sender_timeout"])
	require.Equal(t, "30000", c.RuntimeParams["lock_timeout"])
	require.Equal(t, "0", c.RuntimeParams["statement_timeout"])
	require.Equal(t, "25000", c.RuntimeParams["tcp_user_timeout"])
	require.NotZero(t, c.ConnectTimeout, "a server that does not answer is not waited for for ever")
	require.Equal(t, 3*time.Second, source(t, "postgres://u@h/d?connect_timeout=3").ReplicationConfig().ConnectTimeout)
}
