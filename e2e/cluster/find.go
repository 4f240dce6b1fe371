package cluster

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// Find returns the directory of the server binaries: PG_BIN, pg_config, PATH, Debian's layout.
func Find() (string, error) {
	if dir := os.Getenv("PG_BIN"); dir != "" {
		if !complete(dir) {
			return "", fmt.Errorf("PG_BIN=%s has no initdb, postgres and pg_ctl", dir)
		}
		return dir, nil
	}
	if dirs := installed(); len(dirs) > 0 {
		return dirs[0], nil
	}
	return "", ErrNotFound
}

// installed lists the directories of server binaries on this machine, the likeliest first.
func installed() []string {
	var candidates []string
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		candidates = append(candidates, strings.TrimSpace(string(out)))
	}
	if p, err := exec.LookPath("postgres"); err == nil {
		candidates = append(candidates, filepath.Dir(p))
	}
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.Sort(debian)
	slices.Reverse(debian)
	return slices.DeleteFunc(append(candidates, debian...), func(dir string) bool { return !complete(dir) })
}

// ErrNotFound says that no server binaries are on this machine.
var ErrNotFound = errors.New("no PostgreSQL server binaries found (looked at PG_BIN, pg_config, PATH, /usr/lib/postgresql)")

func complete(dir string) bool {
	for _, name := range []string{"initdb", "postgres", "pg_ctl"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

//go:embed install.sh
var installScript string

// Obtain finds server binaries, or gets them: the distribution's package as root or with sudo, else
// the build that fergusstrange/embedded-postgres brings. What it does is told to log. AWACD_PG, a major
// version, asks for that one.
func Obtain(ctx context.Context, log io.Writer) (string, error) {
	if major := os.Getenv(MajorVariable); major != "" {
		return OfMajor(ctx, major, log)
	}
	dir, err := Find()
	if !errors.Is(err, ErrNotFound) {
		return dir, err
	}
	if aptErr := install(ctx, log); aptErr == nil {
		return Find()
	} else if os.Geteuid() == 0 {
		return "", fmt.Errorf("install PostgreSQL from the distribution's packages: %w", aptErr)
	}
	fmt.Fprintln(log, "getting PostgreSQL binaries for a normal user")
	return Fetch(builds()["17"])
}

func install(ctx context.Context, log io.Writer) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return err
	}
	args := []string{"sh", "-c", installScript}
	if os.Geteuid() != 0 {
		if err := exec.CommandContext(ctx, "sudo", "-n", "true").Run(); err != nil {
			return fmt.Errorf("neither root nor sudo: %w", err)
		}
		args = append([]string{"sudo", "-n"}, args...)
	}
	fmt.Fprintln(log, "installing PostgreSQL from the distribution's packages")
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	return cmd.Run()
}

// fetched is where Fetch keeps the binaries of a version: not below the home directory, for the server runs as another
// user when we are root.
func fetched(version string) string {
	return filepath.Join(os.TempDir(), "awa-counterd-postgres", version, "bin")
}

// Fetch gets the binaries of one PostgreSQL version that fergusstrange/embedded-postgres brings, and
// keeps them for the next time. They are the server only: no psql, no pg_recvlogical.
func Fetch(version string) (string, error) {
	bin := fetched(version)
	dir := filepath.Dir(bin)
	if complete(bin) {
		return bin, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	run, err := os.MkdirTemp("", "awa-counterd-pg")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(run) }()
	port, err := freePort()
	if err != nil {
		return "", err
	}
	pg := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().Version(embeddedpostgres.PostgresVersion(version)).
		CachePath(filepath.Join(run, "cache")).BinariesPath(dir).RuntimePath(filepath.Join(run, "run")).Port(uint32(port)).Logger(io.Discard))
	// The library unpacks on its way to starting a server. As root that start fails; the binaries
	// are there all the same.
	err = pg.Start()
	if err == nil {
		err = pg.Stop()
	}
	if complete(bin) {
		return bin, nil
	}
	return "", fmt.Errorf("get the binaries of PostgreSQL %s: %w", version, err)
}
