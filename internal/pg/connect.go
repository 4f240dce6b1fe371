package pg

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Role is what a session is for; it goes into application_name, where operators see it.
type Role string

// Session says how a session behaves. Zero durations mean no limit.
type Session struct {
	Role             Role
	LockTimeout      time.Duration
	StatementTimeout time.Duration
	Holds            bool // keeps a transaction open while it waits for another session's work
	Async            bool // commits do not wait for the disk: row locks are held for less than a ms
}

// Source opens connections to one database.
type Source struct {
	config *pgx.ConnConfig
}

const connectTimeout = 10 * time.Second

// ParseSource reads a database URL or key=value string. An empty one means libpq's PG* variables.
func ParseSource(url string) (*Source, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err) // pgconn redacts the password
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	return &Source{config: config}, nil
}

// Target names the database without its password: user@host:port/database.
func (s *Source) Target() string {
	c := s.config
	return fmt.Sprintf("%s@%s:%d/%s", c.User, c.Host, c.Port, c.Database)
}

// User is the role that connections are made as.
func (s *Source) User() string { return s.config.User }

// Config is the configuration of a session, for a pool.
func (s *Source) Config(session Session) *pgx.ConnConfig {
	c := s.config.Copy()
	c.RuntimeParams["application_name"] = "awa-counterd " + string(session.Role)
	c.RuntimeParams["default_transaction_isolation"] = "read committed"
	c.RuntimeParams["default_transaction_read_only"] = "off"
	c.RuntimeParams["lock_timeout"] = millis(session.LockTimeout)
	c.RuntimeParams["statement_timeout"] = millis(session.StatementTimeout)
	c.RuntimeParams["idle_in_transaction_session_timeout"] = millis(10 * time.Second)
	if session.Holds {
		c.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	}
	// Compiling a leaf's scan costs about as much as it saves, once for every leaf.
	c.RuntimeParams["jit"] = "off"
	c.RuntimeParams["search_path"] = "pg_catalog"
	c.RuntimeParams["timezone"] = "UTC"
	if session.Async {
		c.RuntimeParams["synchronous_commit"] = "off"
	}
	c.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) {}
	return c
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Connect opens a session.
func (s *Source) Connect(ctx context.Context, session Session) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, s.Config(session))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", s.Target(), err)
	}
	return conn, nil
}

// ReplicationConfig is the configuration of a walsender session on the same database.
func (s *Source) ReplicationConfig() *pgconn.Config {
	c := s.Config(Session{Role: "stream"})
	c.RuntimeParams["replication"] = "database"
	// The server gives up on a stream that does not answer; our answers come every second.
	c.RuntimeParams["wal_sender_timeout"] = millis(60 * time.Second)
	return &c.Config
}
