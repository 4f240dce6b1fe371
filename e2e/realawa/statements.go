package main

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ourSessions begins the names of the daemon's sessions, and of its commands'.
const ourSessions = "awa-counterd"

// logStatements has the server log each statement of the sessions of a URL, once it is over, with how long it took.
func logStatements(database string) (string, error) {
	u, err := url.Parse(database)
	if err != nil {
		return "", fmt.Errorf("have statements logged: %w", err)
	}
	q := u.Query()
	q.Set("options", "-c log_min_duration_statement=0 -c log_parameter_max_length=0")
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	return u.String(), nil
}

// spell is a time in which a session was at work, and on what: it may have held its locks for all of that.
type spell struct {
	began, ended time.Time
	sql          string
}

const (
	untold = time.Second          // before its end a statement that failed began at most: the log does not say when; the daemon's wait for half of that
	gap    = 5 * time.Millisecond // between two statements of a session that may be of one transaction, where the log does not say of which
)

var lasted = regexp.MustCompile(`^duration: ([0-9.]+) ms(?:  (.*))?`)

// statements lists when the sessions were at work whose application's name begins so.
func statements(text, application string) (all []spell) {
	last := make(map[string]int)    // by process, its latest spell
	within := make(map[string]bool) // a transaction that began by BEGIN
	in := make(map[string]string)   // and which it was in
	enter := func(pid, transaction string, s spell) int {
		i, ok := last[pid]
		joins := ok && (within[pid] || s.began.Sub(all[i].ended) <= gap)
		if begun(transaction) {
			joins = joins && (in[pid] == "" || in[pid] == transaction)
			in[pid] = transaction
		}
		if !joins {
			all = append(all, s)
			last[pid] = len(all) - 1
			return len(all) - 1
		}
		if s.began.Before(all[i].began) {
			all[i].began = s.began
		}
		all[i].ended, all[i].sql = s.ended, all[i].sql+" "+s.sql
		return i
	}
	open := -1 // the statement's further lines go to it
	for line := range strings.Lines(text) {
		m := logLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			if open >= 0 {
				all[open].sql += " " + strings.TrimSpace(line)
			}
			continue
		}
		open = -1
		at, err := time.Parse(logTime, m[1])
		if err != nil || !strings.HasPrefix(m[3], application) {
			continue
		}
		pid, transaction := m[2], m[4]
		d := lasted.FindStringSubmatch(m[6])
		switch {
		case m[5] == "LOG" && d != nil:
			ms, _ := strconv.ParseFloat(d[1], 64)
			open = enter(pid, transaction, spell{at.Add(-time.Duration(ms * float64(time.Millisecond))), at, d[2]})
			switch sql := strings.ToLower(d[2]); {
			case strings.Contains(sql, ": begin") && !strings.Contains(sql, ";"):
				within[pid] = true
			case strings.Contains(sql, ": commit"), strings.Contains(sql, ": rollback"):
				within[pid] = false
			}
		case m[5] == "ERROR" || m[5] == "FATAL":
			enter(pid, transaction, spell{at.Add(-untold), at, ""})
			within[pid] = false
		case m[5] == "STATEMENT":
			if i, ok := last[pid]; ok {
				all[i].sql += " " + m[6]
				open = i
			}
		}
	}
	return all
}

// begun reports whether a line is of a transaction that was not over when it was written.
func begun(transaction string) bool {
	return transaction != "" && !strings.HasSuffix(transaction, "/0")
}

var leafNamed = regexp.MustCompile(`done_entries_([0-9]+)`)

// lookups are of a table by its name, without a lock on it (PostgreSQL's acl.c, regproc.c).
var lookups = regexp.MustCompile(`has_[a-z]+_privilege\([^()]*\)|'[^']*'::regclass`)

// inWay reports whether a session of the daemon's may have been in the way of a prune: with the leaf that it waited for or, where it waited for
// counter rows, by writing any of these; who reads them is in nobody's way.
func (s *spell) inWay(prune *complaint) bool {
	sql := strings.ToLower(lookups.ReplaceAllString(s.sql, ""))
	if leaf := leafNamed.FindStringSubmatch(prune.statement); leaf != nil {
		named := leafNamed.FindAllStringSubmatch(sql, -1)
		return slices.ContainsFunc(named, func(m []string) bool { return m[1] == leaf[1] }) ||
			len(named) == 0 && strings.Contains(sql, "done_entries") // by the parent
	}
	return strings.Contains(sql, "queue_terminal_live_counts") &&
		slices.ContainsFunc([]string{"insert into", "update ", "delete from"}, func(verb string) bool { return strings.Contains(sql, verb) })
}

// behind counts failed prunes of new leaders that a session of the daemon's was in the way of: a look saw it, or it was at work on the same
// when the prune began to wait: whoever comes later queues behind it (PostgreSQL's lmgr/README). Looks may miss a wait of 10 ms. The log
// misses none, and may count one that failed for another reason.
func behind(seen []blocked, spells []spell, log []complaint, patience time.Duration) (n int) {
	const (
		late    = 5 * time.Millisecond  // is what a timeout may be on a busy machine
		rounded = 2 * time.Millisecond  // are the times of the log
		several = 60 * time.Millisecond // that a prune may wait for the locks that it takes one after the other
	)
	for i := range log {
		c := &log[i]
		if !c.prune() || !strings.HasPrefix(c.who, "new") {
			continue
		}
		waits := c.at.Add(-patience)
		saw := func(b blocked) bool {
			return strconv.Itoa(int(b.pid)) == c.pid && c.at.Sub(b.at) < several && b.at.Before(c.at.Add(late))
		}
		worked := func(s spell) bool {
			return !s.ended.Before(waits.Add(-late)) && !s.began.After(waits.Add(rounded)) && s.inWay(c)
		}
		if slices.ContainsFunc(seen, saw) || slices.ContainsFunc(spells, worked) {
			n++
		}
	}
	return n
}
