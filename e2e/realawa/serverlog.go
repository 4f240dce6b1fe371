package main

import (
	"regexp"
	"strings"
	"time"
)

// linePrefix makes the server's log say when, which process, which member of the fleet and in which transaction of its.
const linePrefix = "%m [%p] %a|%v|"

// logTime is %m.
const logTime = "2006-01-02 15:04:05.000 MST"

// complaint is an error that the server gave to somebody.
type complaint struct {
	at        time.Time
	pid       string
	who       string // application_name
	text      string // normalised
	statement string
}

var (
	logLine = regexp.MustCompile(`^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \S+) \[(\d+)\] ([^|]*)\|(?:([\d/]*)\|)?(ERROR|FATAL|STATEMENT|DETAIL|HINT|CONTEXT|LOG|WARNING):  ?(.*)`)
	numbers = regexp.MustCompile(`[0-9]+`)
	where   = regexp.MustCompile(` at character N$`)
)

// readLog takes the errors out of a server's log, each with the statement it was for.
func readLog(text string) (all []complaint) {
	var open *complaint // the statement's further lines go to it
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		m := logLine.FindStringSubmatch(line)
		if m == nil {
			if open != nil {
				open.statement += " " + strings.TrimSpace(line)
			}
			continue
		}
		open = nil
		switch m[5] {
		case "ERROR", "FATAL":
			at, err := time.Parse(logTime, m[1])
			if err != nil {
				at = time.Time{}
			}
			all = append(all, complaint{at: at, pid: m[2], who: m[3], text: normalise(m[6])})
		case "STATEMENT":
			for i := len(all) - 1; i >= 0 && i >= len(all)-20; i-- {
				if all[i].pid == m[2] && all[i].statement == "" {
					all[i].statement = strings.TrimSpace(m[6])
					open = &all[i]
					break
				}
			}
		}
	}
	return all
}

// normalise strikes out what differs from one error to the next of its kind.
func normalise(text string) string {
	return where.ReplaceAllString(numbers.ReplaceAllString(text, "N"), "")
}

// prune reports a failed prune of the queue ring: an ACCESS EXCLUSIVE lock on leaves of done_entries, or
// the counter rows of the slot, not had in time.
func (c *complaint) prune() bool {
	if !strings.Contains(c.text, "lock timeout") {
		return false
	}
	s := strings.ToLower(c.statement)
	return strings.Contains(s, "done_entries_") && strings.Contains(s, "access exclusive") ||
		strings.HasPrefix(s, "delete from awa.queue_terminal_live_counts")
}

var locked = regexp.MustCompile(`(?i)^(?:lock|truncate) table (?:only )?(?:awa\.)?"?([a-z_]+?)_?[0-9]*"?(?:[ ,]|$)`)

// kind names the error, who got it, and for locks not had in time the table.
func (c *complaint) kind() string {
	text := c.who[:3] + ": " + c.text
	if m := locked.FindStringSubmatch(c.statement); m != nil && strings.Contains(c.text, "lock timeout") {
		text += " (" + m[1] + ")"
	}
	return text
}

// ofWorker reports whether a worker of awa was told so, and not a migrator, the daemon or ourselves.
func (c *complaint) ofWorker() bool {
	return strings.HasPrefix(c.who, "old") || strings.HasPrefix(c.who, "new")
}

// terminated sessions are this program's own doing.
func (c *complaint) ours() bool {
	return strings.Contains(c.text, "terminating connection due to administrator command")
}
