package cluster

import (
	"regexp"
	"strconv"
	"strings"
)

var (
	logged    = regexp.MustCompile(`^\S+ \S+ \S+ \[(\d+)\] (?:[^|]*\|)?(\w+):  (.*)`) // with "%m [%p] " or "%m [%p] %a|" before it
	connected = regexp.MustCompile(`^(?:replication )?connection authorized: .*application_name=(.*)`)
	partner   = regexp.MustCompile(`^\s*Process (\d+) waits`)
)

// Deadlocks lists the deadlocks in a server's log that a session took part in, as victim or not, whose application's
// name begins so. The log names processes; whose they are is in what it says of connections (log_connections). A process id comes round
// again, so who has it is who connected last.
func Deadlocks(log, application string) (all []string) {
	names := make(map[string]string)
	quarrel := false
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
		}
		if m := partner.FindStringSubmatch(text); quarrel && m != nil && strings.HasPrefix(names[m[1]], application) {
			all = append(all, names[m[1]]+": "+strings.TrimSpace(text))
		}
	}
	return all
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
