package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Options of a cluster.
type Options struct {
	Bin      string            // directory of the binaries
	Settings map[string]string // on top of what every test needs
	Auth     string            // pg_hba method for TCP; trust if empty
}

// Cluster is a running server.
type Cluster struct {
	Dir  string
	Port int
	bin  string
	cred *syscall.Credential
}

// Superuser is the cluster's first role.
const Superuser = "postgres"

// Start makes a cluster in a temporary directory and starts it.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	dir, err := os.MkdirTemp("", "awacd")
	if err != nil {
		return nil, fmt.Errorf("make a cluster: %w", err)
	}
	c := &Cluster{Dir: dir, bin: opts.Bin}
	if err := c.make(ctx, opts); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("make a cluster: %w", err)
	}
	if err := c.Up(ctx); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return c, nil
}

func (c *Cluster) make(ctx context.Context, opts Options) error {
	var err error
	if c.cred, err = unprivileged(); err != nil {
		return err
	}
	if c.cred != nil {
		if err := os.Chown(c.Dir, int(c.cred.Uid), int(c.cred.Gid)); err != nil {
			return err
		}
	}
	if err := os.Chmod(c.Dir, 0o755); err != nil {
		return err
	}
	if c.Port, err = freePort(); err != nil {
		return err
	}
	auth := opts.Auth
	if auth == "" {
		auth = "trust"
	}
	if err := c.run(ctx, "initdb", "-D", c.data(), "-U", Superuser, "-N", "-E", "UTF8", "--no-locale",
		"--auth-local=trust", "--auth-host="+auth); err != nil {
		return err
	}
	settings := map[string]string{
		"wal_level": "logical", "max_replication_slots": "10", "max_wal_senders": "10", "max_connections": "100",
		"listen_addresses": "127.0.0.1", "port": strconv.Itoa(c.Port), "unix_socket_directories": c.Dir,
		"fsync": "off", "full_page_writes": "off", "shared_buffers": "256MB", "max_wal_size": "2GB",
		"log_min_messages": "warning", "autovacuum_naptime": "5s",
		"log_connections": "on", // tells whose process was in a deadlock
	}
	maps.Copy(settings, opts.Settings)
	var b strings.Builder
	for k, v := range settings {
		fmt.Fprintf(&b, "%s = '%s'\n", k, v)
	}
	return c.append("postgresql.conf", b.String())
}

func (c *Cluster) data() string { return filepath.Join(c.Dir, "data") }

// append adds text to a file of the data directory, keeping its owner.
func (c *Cluster) append(name, text string) error {
	f, err := os.OpenFile(filepath.Join(c.data(), name), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// Configure adds settings; they apply at the next start.
func (c *Cluster) Configure(key, value string) error {
	return c.append("postgresql.conf", fmt.Sprintf("%s = '%s'\n", key, value))
}

// Up starts the server and waits until it answers.
func (c *Cluster) Up(ctx context.Context) error {
	if err := c.run(ctx, "pg_ctl", "-D", c.data(), "-l", filepath.Join(c.Dir, "log"), "-w", "-t", "60", "start"); err != nil {
		return fmt.Errorf("%w\n%s", err, c.Log())
	}
	return nil
}

// Down stops the server: "fast" or "immediate".
func (c *Cluster) Down(ctx context.Context, mode string) error {
	return c.run(ctx, "pg_ctl", "-D", c.data(), "-m", mode, "-w", "stop")
}

// Close stops the server and removes every trace.
func (c *Cluster) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := c.Down(ctx, "immediate")
	return errors.Join(err, os.RemoveAll(c.Dir))
}

// Promote makes a standby the primary, on a timeline of its own.
func (c *Cluster) Promote(ctx context.Context) error {
	return c.run(ctx, "pg_ctl", "-D", c.data(), "-w", "promote")
}

// Data is the data directory.
func (c *Cluster) Data() string { return c.data() }

// Run runs one of the server's programs to its end, as the cluster's user.
func (c *Cluster) Run(ctx context.Context, name string, args ...string) error {
	return c.run(ctx, name, args...)
}

// Own gives a file to the cluster's user.
func (c *Cluster) Own(path string) error {
	if c.cred == nil {
		return nil
	}
	return os.Chown(path, int(c.cred.Uid), int(c.cred.Gid))
}

// Log is what the server has logged.
func (c *Cluster) Log() string {
	b, _ := os.ReadFile(filepath.Join(c.Dir, "log"))
	return string(b)
}

// URL of a database over TCP.
func (c *Cluster) URL(userName, password, database string) string {
	u := url.URL{Scheme: "postgres", Host: fmt.Sprintf("127.0.0.1:%d", c.Port), Path: database, RawQuery: "sslmode=disable"}
	u.User = url.User(userName)
	if password != "" {
		u.User = url.UserPassword(userName, password)
	}
	return u.String()
}

// Socket is the connection string of a database over the Unix socket.
func (c *Cluster) Socket(database string) string {
	return fmt.Sprintf("host=%s port=%d user=%s dbname=%s", c.Dir, c.Port, Superuser, database)
}

// Connect opens a superuser connection.
func (c *Cluster) Connect(ctx context.Context, database string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, c.Socket(database))
	if err != nil {
		return nil, fmt.Errorf("connect to the test cluster: %w", err)
	}
	return conn, nil
}

// Command is a binary of the server, to be run as the cluster's user.
func (c *Cluster) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, name), args...)
	cmd.Dir = "/"
	if c.cred != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred}
	}
	return cmd
}

func (c *Cluster) run(ctx context.Context, name string, args ...string) error {
	cmd := c.Command(ctx, name, args...)
	// pg_ctl's server inherits its output; a file does not keep Wait from returning, a pipe would.
	out, err := os.CreateTemp("", "awacd-out")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(out.Name()); _ = out.Close() }()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w: %s", name, err, said)
	}
	return nil
}

// unprivileged picks a user to run the server as when we are root, who may not.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // nobody else is needed
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("running as root, and there is no user postgres or nobody to run the server as")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, errors.New("no TCP address")
	}
	return addr.Port, nil
}

// Address is where the server listens for TCP.
func (c *Cluster) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)) }
