package status

import (
	"fmt"

	"github.com/awa-counterd/awa-counterd/checkpoint"
)

// MarkerChange is one time that the trust marker was set or cleared.
type MarkerChange = checkpoint.MarkerChange

// ChangeText says of a change of the marker when it was and for how long it lasted, and why.
func ChangeText(m MarkerChange) string {
	text := fmt.Sprintf("cleared %s ago, for %s", Ago(m.Ago), Ago(m.Lasted))
	if m.Set {
		text = fmt.Sprintf("set %s ago, for %s", Ago(m.Ago), Ago(m.Lasted))
	}
	if m.Reason != "" {
		text += ": " + m.Reason
	}
	return text
}

// Cleared sums up how often the marker was cleared in the last checkpoint.ToldFor days, or in what is known of them, and for how long
// it was not set. The changes are all that are told, newest first.
func Cleared(changes []MarkerChange) string {
	if len(changes) == 0 { // there may be nobody who remembers any
		return fmt.Sprintf("no change is known of the last %d days", checkpoint.ToldFor)
	}
	times, seconds := 0, 0.0
	for _, m := range changes {
		if !m.Set {
			times++
			seconds += m.Lasted
		}
	}
	since := fmt.Sprintf("in the last %d days", checkpoint.ToldFor)
	if len(changes) >= checkpoint.MostTold { // there may have been more
		return fmt.Sprintf("cleared %d times at least %s, for %s or more", times, since, Ago(seconds))
	}
	// What was so when those days began is told as well, where it is known; the oldest that is younger has nothing before it.
	if first := changes[len(changes)-1].Ago; first < checkpoint.ToldFor*24*60*60 {
		since = fmt.Sprintf("since the history began, %s ago", Ago(first))
	}
	switch times {
	case 0:
		return "not cleared " + since
	case 1:
		return fmt.Sprintf("cleared once %s, for %s", since, Ago(seconds))
	}
	return fmt.Sprintf("cleared %d times %s, for %s in all", times, since, Ago(seconds))
}
