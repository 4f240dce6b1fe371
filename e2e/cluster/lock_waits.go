package cluster

import (
	"regexp"
	"strconv"
	"strings"
)

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
