package pg

import (
	"context"
	"fmt"
	"maps"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Role is what a connection is for; it goes into application_name, where operators see it.
type Role string

// The roles by which connections of awa-counterd are recognised.
const (
	StreamRole  Role = "stream"  // reads the replication slot
	ControlRole Role = "control" // holds the leader lock
)

// ApplicationName is what the server knows a connection of awa-counterd by.
func ApplicationName(r Role) string { return "awa-counterd " + string(r) }

// Settings say how a connection behaves. Zero durations mean no limit. One with a StatementTimeout waits for no answer longer than that
// and AnswerWithin, by this process's own clock.
type Settings struct {
	Role             Role
	LockTimeout      time.Duration
	StatementTimeout time.Duration
	Holds            bool // keeps a transaction open while it waits for another session's work
	Async            bool // commits do not wait for the disk: row locks are held for less than a ms
	Indexed          bool // looks up single rows: no plan that was made when a table was small may read it as a whole when it is not
}

const off = "off"

// Source opens connections to one database.
type Source struct {
	config *pgx.ConnConfig
}

const connectTimeout = 10 * time.Second

// SlotLockWait bounds one wait for a lock while a replication slot is made. Then it is tried again, since who is waited for may take hours.
const SlotLockWait = 30 * time.Second

// A peer that vanished without a word is given up after probeAfter + probes × probeEvery, on both
// sides: the server must not keep the daemon's locks and replication slot for the two hours that systems wait by default.
const (
	probeAfter = 10 * time.Second
	probeEvery = 5 * time.Second
	probes     = 3
)

// ParseSource reads a database URL or key=value string. An empty one means libpq's PG* variables.
func ParseSource(url string) (*Source, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err) // pgconn redacts the password
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: probeAfter, Interval: probeEvery, Count: probes}, Control: giveUp}
	config.DialFunc = dialer.DialContext
	return &Source{config: config}, nil
}

// Target names the database without its password: user@host:port/database.
func (s *Source) Target() string {
	c := s.config
	return fmt.Sprintf("%s@%s:%d/%s", c.User, c.Host, c.Port, c.Database)
}

// User is the role that connections are made as.
func (s *Source) User() string { return s.config.User }

// Config is the configuration of a connection, for a pool.
func (s *Source) Config(settings Settings) *pgx.ConnConfig {
	c := s.config.Copy()
	c.RuntimeParams["application_name"] = ApplicationName(settings.Role)
	c.RuntimeParams["default_transaction_isolation"] = "read committed"
	c.RuntimeParams["default_transaction_read_only"] = off
	c.RuntimeParams["lock_timeout"] = millis(settings.LockTimeout)
	c.RuntimeParams["statement_timeout"] = millis(settings.StatementTimeout)
	c.RuntimeParams["idle_in_transaction_session_timeout"] = millis(10 * time.Second)
	if settings.Holds {
		c.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	}
	// Compiling a leaf's scan costs about as much as it saves, once for every leaf.
	c.RuntimeParams["jit"] = off
	c.RuntimeParams["search_path"] = "pg_catalog"
	c.RuntimeParams["timezone"] = "UTC"
	maps.Copy(c.RuntimeParams, pinned())
	c.AfterConnect = pinNewer
	c.RuntimeParams["tcp_keepalives_idle"] = seconds(probeAfter)
	c.RuntimeParams["tcp_keepalives_interval"] = seconds(probeEvery)
	c.RuntimeParams["tcp_keepalives_count"] = strconv.Itoa(probes)
	c.RuntimeParams["tcp_user_timeout"] = millis(probeAfter + probes*probeEvery)
	// No connection of awa-counterd waits for a synchronous standby, which might never answer.
	c.RuntimeParams["synchronous_commit"] = "local"
	if settings.Async {
		c.RuntimeParams["synchronous_commit"] = off
	}
	if settings.Indexed {
		c.RuntimeParams["enable_seqscan"], c.RuntimeParams["enable_indexscan"] = off, "on"
	}
	if settings.StatementTimeout > 0 {
		c.Tracer = deadlines{settings.StatementTimeout + AnswerWithin}
	}
	c.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) {}
	return c
}

// pinned are settings that change what we read, or how it comes, or that make an end of each session of which a statement
// fails (a lock timeout, say), and that a role or a database may have otherwise.
// Under row_security = off a table that would show us a part of its rows is an error instead.
func pinned() map[string]string {
	return map[string]string{
		"row_security": off, "client_encoding": "UTF8", "client_min_messages": "warning", "datestyle": "ISO, YMD",
		"intervalstyle": "postgres", "bytea_output": "hex", "extra_float_digits": "1", "standard_conforming_strings": "on",
		"quote_all_identifiers": off, "array_nulls": "on", "enable_partition_pruning": "on", "plan_cache_mode": "auto",
		"default_transaction_deferrable": off, "exit_on_error": off,
	}
}

// newer are settings that end a connection of awa-counterd, and the server versions that brought them: an older one would not
// let us in with them.
func newer() map[string]int {
	return map[string]int{"idle_session_timeout": 14, "transaction_timeout": 17}
}

// pinNewer turns off what this server may have on beside the settings that all versions know.
func pinNewer(ctx context.Context, c *pgconn.PgConn) error {
	text, _, _ := strings.Cut(c.ParameterStatus("server_version"), ".")
	major, _ := strconv.Atoi(strings.TrimRightFunc(text, func(r rune) bool { return r < '0' || r > '9' }))
	var sql []string
	for name, since := range newer() {
		if major >= since {
			sql = append(sql, "set "+name+" = 0")
		}
	}
	if len(sql) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout) // connect_timeout does not bound what comes after the login
	defer cancel()
	return c.Exec(ctx, strings.Join(sql, "; ")).Close()
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) }

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Connect opens a connection.
func (s *Source) Connect(ctx context.Context, settings Settings) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, s.Config(settings))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", s.Target(), err)
	}
	return conn, nil
}

// A connection on demand is closed when it has not been used for idleFor; that is looked at every idleLook.
const (
	idleFor  = 10 * time.Second
	idleLook = 5 * time.Second
)

// OnDemand are connections that are opened when they are used, at most `most` at a time, and closed when nobody has used them for a
// while. It connects to nothing by itself; an error that IsNotConnected says that one could not be opened.
func (s *Source) OnDemand(ctx context.Context, settings Settings, most int32) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, fmt.Errorf("configure connections for %s: %w", settings.Role, err)
	}
	config.ConnConfig = s.Config(settings)
	config.MaxConns, config.MinConns = most, 0
	config.MaxConnIdleTime, config.HealthCheckPeriod = idleFor, idleLook
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("prepare connections for %s: %w", settings.Role, err)
	}
	return pool, nil
}

// ReplicationConfig is the configuration of a walsender connection to the same database.
func (s *Source) ReplicationConfig() *pgconn.Config {
	c := s.Config(Settings{Role: StreamRole, LockTimeout: SlotLockWait}) // statement_timeout does not bound the making of a replication slot
	c.RuntimeParams["replication"] = "database"
	// The server gives up on a stream that does not answer; our answers come every second.
	c.RuntimeParams["wal_sender_timeout"] = millis(20 * time.Second)
	return &c.Config
}
