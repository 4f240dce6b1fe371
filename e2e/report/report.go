package report

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

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
	return Commit(), server, nil
}

// Commit of the working tree, with what says that something in it is not committed; "unknown" without one.
func Commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// CommitBut is Commit where what is not committed below a path does not count: reports that a run writes itself.
func CommitBut(path string) string {
	out, err := exec.Command("git", "describe", "--always").Output()
	if err != nil {
		return "unknown"
	}
	changed, err := exec.Command("git", "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)"+path).Output()
	if err != nil {
		return "unknown"
	}
	if len(changed) > 0 {
		return strings.TrimSpace(string(out)) + "-dirty"
	}
	return strings.TrimSpace(string(out))
}

// Machine is the processor, the memory and the kernel, as far as /proc tells.
func Machine() string {
	text := fmt.Sprintf("%d cores", runtime.NumCPU())
	if model := field("/proc/cpuinfo", "model name"); model != "" {
		text += " of " + model
	}
	var kilobytes float64
	if _, err := fmt.Sscan(field("/proc/meminfo", "MemTotal"), &kilobytes); err == nil {
		text += fmt.Sprintf(", %.1f GiB of memory", kilobytes/(1<<20))
	}
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		text += ", Linux " + strings.TrimSpace(string(kernel))
	}
	return text
}

// field is the value behind the first line of a file that has this name before a colon.
func field(file, name string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
