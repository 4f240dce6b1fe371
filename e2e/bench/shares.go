package main

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Where the daemon's processor time goes, by its profiles: what each function took itself, summed up by what it is for.

const ours = "github.com/awa-counterd/awa-counterd/"

// usesOfTime are what time is told apart by, in the order in which a function is looked for; each has the beginnings of names.
func usesOfTime() []struct {
	what     string
	prefixes []string
} {
	return []struct {
		what     string
		prefixes []string
	}{
		{"system calls", []string{"internal/runtime/syscall.", "runtime/internal/syscall.", "syscall.", "golang.org/x/sys/unix.", "runtime.futex", "runtime.epoll", "runtime.usleep", "runtime.write1"}},
		{"memory and its collector", []string{
			"runtime.mallocgc", "runtime.gc", "runtime.(*gc", "runtime.scan", "runtime.(*mspan)", "runtime.(*mheap)", "runtime.(*mcache)", "runtime.(*mcentral)", "runtime.sweep",
			"runtime.(*sweep", "runtime.bgsweep", "runtime.bgscavenge", "runtime.markroot", "runtime.greyobject", "runtime.wb", "runtime.memclr", "runtime.nextFree", "runtime.heap", "runtime.(*scav", "runtime.growslice", "runtime.newobject", "runtime.makeslice",
		}},
		{"decoding", []string{ours + "decoder."}},
		{"the stream's frames", []string{ours + "replication.", "github.com/jackc/pgx/v5/pgproto3.", "github.com/jackc/pglogrepl.", "github.com/jackc/pgx/v5/internal/iobufpool."}},
		{"books and journal", []string{ours + "applier.", ours + "internal/base/counter.", ours + "internal/base/pgsnap."}},
		{"statements", []string{ours + "internal/corrections.", ours + "checkpoint.", ours + "reconcile.", ours + "internal/awa.", "github.com/jackc/"}},
		{"maps, strings and copying", []string{"runtime.mem", "runtime.aes", "runtime.strhash", "runtime.map", "internal/runtime/maps.", "internal/bytealg.", "runtime.cmpstring", "aeshashbody", "memeqbody", "runtime.typehash"}},
		{"Go's scheduler and the rest of its runtime", []string{"runtime.", "internal/runtime/", "internal/poll.", "sync.", "internal/sync.", "sync/atomic."}},
	}
}

const (
	otherUses = "other"
	shareOf   = "share of "
)

func useOf(function string) string {
	for _, u := range usesOfTime() {
		if slices.ContainsFunc(u.prefixes, func(p string) bool { return strings.HasPrefix(function, p) }) {
			return u.what
		}
	}
	return otherUses
}

// shares reads the profiles of a part, all together, and notes what share of the daemon's time each use has, in percent.
func (p *profiler) shares(ctx context.Context, into *roundResult) error {
	files, err := filepath.Glob(p.files())
	if err != nil || len(files) == 0 {
		return err
	}
	out, err := exec.CommandContext(ctx, "go", append([]string{"tool", "pprof", "-top", "-nodecount=100000", "-nodefraction=0", "-edgefraction=0", "-unit=ms"}, files...)...).Output()
	if err != nil {
		return fmt.Errorf("read the profiles of part %s: %w", p.part, err)
	}
	return takeShares(string(out), into)
}

// takeShares reads what `go tool pprof -top -unit=ms` prints: after a heading, flat time, its share, the sum of these, cumulative
// time, its share, and the function.
func takeShares(out string, into *roundResult) error {
	by := make(map[string]float64)
	whole, body := 0.0, false
	lines := bufio.NewScanner(strings.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if !body {
			body = len(f) > 1 && f[0] == "flat" && f[1] == "flat%"
			continue
		}
		if len(f) < 6 {
			continue
		}
		ms, err := strconv.ParseFloat(strings.TrimSuffix(f[0], "ms"), 64)
		if err != nil {
			return fmt.Errorf("a line of go tool pprof that is no function: %s", lines.Text())
		}
		by[useOf(f[5])] += ms
		whole += ms
	}
	for use, ms := range by {
		if whole > 0 {
			into.note("", theDaemon, shareOf+use, 100*ms/whole)
		}
	}
	return lines.Err()
}

// where says in a sentence where the daemon's time goes in a part, and where it went in an older binary; "" where no profiles were taken
// of this binary.
func (l *lab) where(p part, t *taken) (string, error) {
	now, before := filepath.Join(l.results, profiledResults), filepath.Join(l.results, olderResults)
	if l.profile != nil {
		now = l.results
	}
	var all []string
	for _, name := range p.sources() {
		seen, err := recall(now, name)
		if err != nil {
			return "", err
		}
		uses := seen.uses()
		if uses == "" || seen.Origin.Binary != t.Origin.Binary || seen.Origin.Scale != t.Origin.Scale {
			continue
		}
		text := fmt.Sprintf("Where the daemon's own processor time goes in part `%s`, by its profiles: %s.", name, uses)
		older, err := recall(before, name)
		if err != nil {
			return "", err
		}
		if uses := older.uses(); uses != "" && older.Origin.Scale == t.Origin.Scale {
			text += fmt.Sprintf("\nBefore, at commit %s: %s.", older.Origin.Commit, uses)
		}
		all = append(all, text)
	}
	return strings.Join(all, "\n"), nil
}

// uses are what the time of the profiles is spent on, the most first, in words; what is below 1 % is left out.
func (t *taken) uses() string {
	type use struct {
		what  string
		share float64
	}
	var uses []use
	for _, u := range append(usesOfTime(), struct {
		what     string
		prefixes []string
	}{what: otherUses}) {
		if s := t.spread("", theDaemon, shareOf+u.what); s.n > 0 && s.median >= 1 {
			uses = append(uses, use{u.what, s.median})
		}
	}
	slices.SortStableFunc(uses, func(a, b use) int { return int(1000 * (b.share - a.share)) })
	var words []string
	for _, u := range uses {
		words = append(words, fmt.Sprintf("%s %.0f %%", u.what, u.share))
	}
	return strings.Join(words, ", ")
}
