package provision

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/replication"
)

// Names that are not given are those of the daemon: a teardown that guessed others would leave a replication slot unread.
func TestNamesAreTheDaemons(t *testing.T) {
	n := Names{Role: "r", KeepMarker: true}.Default("app", "awa")
	require.Equal(t, Names{
		Schema: "awa", Slot: replication.SlotName("app", "awa"), Publication: replication.PublicationName("awa"), Role: "r", KeepMarker: true,
	}, n)
	given := Names{Slot: "s", Publication: "p"}.Default("app", "awa")
	require.Equal(t, Names{Schema: "awa", Slot: "s", Publication: "p"}, given)
}

func TestRemediesAreOneLine(t *testing.T) {
	require.Equal(t, "GRANT a TO b; INSERT INTO c", oneLine("GRANT a TO b;\nINSERT\n\t INTO c\n"))
}
