package cluster

import (
	"regexp"
	"strconv"
	"strings"
)

var (
	logged    = regexp.MustCompile(`^\S+ \S+ \S+ \[(\d+)\] (?:[^|]*\|){0,2}(\w+):  (.*)`) // with "%m [%p] ", "%m [%p] %a|" or "%m [%p] %a|%v|" before it
	connected = regexp.MustCompile(`^(?:replication )?connection authorized: .*application_name=(.*)`)
	partner   = regexp.MustCompile(`^\s*Process (\d+) waits`)
)

// Deadlocks lists the deadlocks in a server's log that a session took part in, as victim or not, whose application's
// name begins so. The log names processes; whose they are is in what it says of connections (log_connections). A process id comes round
// again, so who has it is who connected last. A deadlock of others in whose queue for a row it stood is not its own.
func Deadlocks(log, application string) (all []string) {
	names := make(map[string]string)
	quarrel := false
	var circle []wait
	over := func() {
		for i, w := range circle {
			if strings.HasPrefix(w.name, application) && !w.queues(circle[(i+len(circle)-1)%len(circle)]) {
				all = append(all, w.name+": "+w.text)
			}
		}
		circle = nil
	}
	for line := range strings.Lines(log) {
		text := line
		if m := logged.FindStringSubmatch(line); m != nil {
			if strings.HasPrefix(m[3], "connection received: ") {
				delete(names, m[1])
			}
			if c := connected.FindStringSubmatch(m[3]); c != nil {
				names[m[1]] = c[1]
			}
			if quarrel = quarrel && m[2] == "DETAIL" || strings.HasPrefix(m[3], "deadlock detected"); m[2] == "DETAIL" {
				text = m[3]
			}
			if !quarrel {
				over()
			}
		}
		if m := partner.FindStringSubmatch(text); quarrel && m != nil {
			circle = append(circle, wait{name: names[m[1]], text: strings.TrimSpace(text)})
		}
	}
	over()
	return all
}

// wait is a session's part in a deadlock, of which each waits for the next one.
type wait struct {
	name, text string
}

// queues reports that it has only the next place in the queue for a row, behind the transaction that has changed the row: the one before
// it waits for that place. Without it that one would wait for the transaction, in the same deadlock (PostgreSQL's README.tuplock).
func (w wait) queues(before wait) bool {
	return strings.Contains(w.text, "Lock on transaction ") && strings.Contains(before.text, "Lock on tuple ")
}

var (
	stillWaits = regexp.MustCompile(`^process (\d+) still waiting for `)
	holders    = regexp.MustCompile(`^Process(?:es)? holding the lock: ([\d, ]+)\.`)
)

// WaitedFor counts how often a process waited for longer than deadlock_timeout for a lock that a session held whose application's
// name begins so. It takes a server's log, with log_lock_waits and log_connections, and looks at the waits from a byte of it on.
func WaitedFor(log string, from int, waiter uint32, application string) (times int) {
	names := make(map[string]string)
	ours, at := false, 0
	for line := range strings.Lines(log) {
		began := at
		at += len(line)
		m := logged.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if c := connected.FindStringSubmatch(m[3]); c != nil {
			names[m[1]] = c[1]
		}
		if w := stillWaits.FindStringSubmatch(m[3]); w != nil {
			ours = began >= from && w[1] == strconv.FormatUint(uint64(waiter), 10)
			continue
		}
		if h := holders.FindStringSubmatch(m[3]); h != nil && ours {
			for pid := range strings.SplitSeq(h[1], ", ") {
				if strings.HasPrefix(names[pid], application) {
					times++
					break
				}
			}
		}
		ours = false
	}
	return times
}
