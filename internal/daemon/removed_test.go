package daemon

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is gone was removed, if this is the server and the database where it was seen, and no older backup of them. A
// daemon that mistakes another place for that leaves for good; one that does not see it creates everything again.
func TestWhatIsGoneWasSeenHere(t *testing.T) {
	seen := leadSeen{schema: "awa", system: "7", database: 5, at: 1000}
	require.True(t, seen.since(seen))
	for name, c := range map[string]struct {
		now  leadSeen
		want bool
	}{
		"later":                 {leadSeen{"awa", "7", 5, 1001}, true},
		"an older backup":       {leadSeen{"awa", "7", 5, 999}, false},
		"another schema":        {leadSeen{"jobs", "7", 5, 1001}, false},
		"another cluster":       {leadSeen{"awa", "8", 5, 1001}, false},
		"created again by name": {leadSeen{"awa", "7", 6, 1001}, false},
		"never looked":          {leadSeen{}, false},
	} {
		require.Equal(t, c.want, seen.since(c.now), name)
	}
	require.False(t, leadSeen{}.since(seen), "nothing was seen yet")
}
