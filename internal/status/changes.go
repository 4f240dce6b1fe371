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

// Cleared sums up how often the marker was cleared in the last checkpoint.ToldFor days, and for how long it was not set, as far as
// that is told.
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
	if len(changes) >= checkpoint.MostTold { // there may have been more
		return fmt.Sprintf("cleared %d times at least in the last %d days, for %s or more", times, checkpoint.ToldFor, Ago(seconds))
	}
	switch times {
	case 0:
		return fmt.Sprintf("not cleared in the last %d days", checkpoint.ToldFor)
	case 1:
		return fmt.Sprintf("cleared once in the last %d days, for %s", checkpoint.ToldFor, Ago(seconds))
	}
	return fmt.Sprintf("cleared %d times in the last %d days, for %s in all", times, checkpoint.ToldFor, Ago(seconds))
}
