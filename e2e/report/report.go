// Package report writes what the benchmarks found into docs/reports, with the command that made it.
package report

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Querier reads; a pool or a connection.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Origin is the commit, and the server's version.
func Origin(ctx context.Context, q Querier) (commit, server string, err error) {
	if err := q.QueryRow(ctx, `select 'PostgreSQL ' || current_setting('server_version')`).Scan(&server); err != nil {
		return "", "", err
	}
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown", server, nil
	}
	return strings.TrimSpace(string(out)), server, nil
}

// Head is the beginning of every report: what, when, by which command, from which commit, on what.
func Head(ctx context.Context, q Querier, title, target string) (string, error) {
	var server string
	if err := q.QueryRow(ctx, `select version()`).Scan(&server); err != nil {
		return "", err
	}
	commit, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	return fmt.Sprintf("# %s\n\nMade by `make %s` on %s, commit %s, %d cores, %s.\n%s\n\n", title, target,
		time.Now().UTC().Format(time.DateOnly), strings.TrimSpace(string(commit)), runtime.NumCPU(), runtime.Version(), server), nil
}

// Write writes a report to a file, or to standard output when there is none.
func Write(file, text string) error {
	if file == "" {
		_, err := fmt.Print(text)
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}
