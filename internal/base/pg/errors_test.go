package pg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

func failed(code string) error {
	return fmt.Errorf("write the checkpoint: %w", &pgconn.PgError{Code: code, Message: "what the server said"})
}

// Each SQLSTATE that a decision hangs on is told by the questions named, and by no other. A wrong answer is a session
// that ends for a lock, a replication slot thrown away for a shutdown, or a daemon that waits for what nobody will mend.
func TestErrorsAreToldApart(t *testing.T) {
	questions := map[string]func(error) bool{
		"busy": IsBusy, "denied": IsDenied, "lock timeout": IsLockTimeout, "in use": IsInUse, "no free slot": IsNoFreeSlot,
		"duplicate": IsDuplicate, "no table": IsNoTable, "slot unusable": IsSlotUnusable,
		"unidentified": IsUnidentified,
	}
	for code, want := range map[string][]string{
		"55P03": {"busy", "lock timeout"},
		"40P01": {"busy"}, // a deadlock
		"40001": {"busy"}, // could not serialize
		"57014": {"busy"}, // canceled: statement_timeout, or a person
		"42501": {"denied"},
		"55006": {"in use"},
		"53400": {"no free slot"},
		"42710": {"duplicate"},
		"42P01": {"no table"},
		"55000": {"slot unusable", "unidentified"}, // can no longer get changes from it; does not have a replica identity and publishes deletes
		"42P10": {"unidentified"},                  // a column list or a row filter does not go with the replica identity
		"42704": {"slot unusable"},                 // WAL without its publication
		"0A000": {"slot unusable"},
		"XX000": {"slot unusable"}, // could not map filenode
		"57P01": {},                // the server shuts down
		"53300": {},                // too many connections
		"08006": {},
		"":      {},
	} {
		for name, is := range questions {
			require.Equal(t, slices.Contains(want, name), is(failed(code)), "%s: %s?", code, name)
		}
	}
	for name, is := range questions {
		require.False(t, is(errors.New("42501 55P03")), "%s: an error that is not the server's", name)
		require.False(t, is(nil), name)
	}
}

func TestRefusalSaysWhatMendsIt(t *testing.T) {
	cause := failed("42501")
	r := Refuse("run: GRANT x TO y", "this role may not %s", "do it")
	r.Err = cause
	require.EqualError(t, r, "this role may not do it; run: GRANT x TO y")
	require.True(t, IsDenied(fmt.Errorf("look: %w", r)), "what the server said is kept")
	require.EqualError(t, &Refusal{Problem: "no way"}, "no way")
}

// silence is how a server fails that takes a connection and never says a word.
func silence(t *testing.T) (err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer func() { _ = theirs.Close() }()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		source, failed := ParseSource("host=db1 sslmode=disable connect_timeout=2")
		require.NoError(t, failed)
		source.config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
		source.config.DialFunc = func(context.Context, string, string) (net.Conn, error) { return ours, nil }
		_, err = source.Connect(t.Context(), Settings{})
	})
	return err
}

// What keeps a connection from being made is explained where a person can mend it, and passed on where waiting may.
func TestConnectionsThatFailAreExplained(t *testing.T) {
	source, err := ParseSource("postgres://counterd:hunter2@db1:6432/app")
	require.NoError(t, err)
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connect: connection refused")}
	for name, c := range map[string]struct {
		err             error
		problem, remedy string
	}{
		"password":    {failed("28P01"), "wrong password for role counterd", "PGPASSWORD"},
		"pg_hba.conf": {failed("28000"), "does not let role counterd in: what the server said", "pg_hba.conf"},
		"database":    {failed("3D000"), "there is no such database", "--database-url"},
		"connections": {failed("53300"), "no connection is free: what the server said", "max_connections"},
		"host":        {&net.DNSError{Err: "no such host", Name: "db1"}, "host name cannot be resolved", "--database-url"},
		"port":        {fmt.Errorf("dial: %w", refused), "is not reachable: connect: connection refused", "start the server"},
		"silence":     {silence(t), "is not reachable: the server did not answer in time", "start the server"},
	} {
		t.Run(name, func(t *testing.T) {
			var r *Refusal
			require.ErrorAs(t, source.ExplainConnect(c.err), &r)
			require.Contains(t, r.Problem, "counterd@db1:6432/app")
			require.Contains(t, r.Problem, c.problem)
			require.Contains(t, r.Remedy, c.remedy)
			require.ErrorIs(t, r, c.err)
			require.NotContains(t, r.Error(), "hunter2")
		})
	}
	for _, passing := range []error{failed("57P03"), failed("53200"), errors.New("what else")} { // starting up, out of memory
		require.Same(t, passing, source.ExplainConnect(passing))
	}
}
