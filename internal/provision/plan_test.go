package provision

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/replication"
)

// Names that are not given are those of the daemon: a teardown that guessed others would leave a slot unread.
func TestNamesAreTheDaemons(t *testing.T) {
	n := Names{Role: "r", KeepMarker: true}.Default("app", "awa")
	require.Equal(t, Names{
		Schema: "awa", Slot: replication.SlotName("app", "awa"), Publication: replication.PublicationName("awa"), Role: "r", KeepMarker: true,
	}, n)
	given := Names{Slot: "s", Publication: "p"}.Default("app", "awa")
	require.Equal(t, Names{Schema: "awa", Slot: "s", Publication: "p"}, given)
}

// The daemon's role gets a right on every table that we make. One that was forgotten shows only where the role is
// not the owner.
func TestEveryTableOfOursIsGranted(t *testing.T) {
	var granted []string
	for _, need := range ownRights() {
		granted = append(granted, need.Grant)
		require.Equal(t, need.Grant, need.What)
		rights, _, _ := strings.Cut(need.Grant, " ON ")
		for right := range strings.SplitSeq(rights, ", ") {
			require.Contains(t, need.Check, "'"+right+"'", "%s is checked by %s", need.Grant, need.Check)
		}
	}
	tables := regexp.MustCompile(`create table if not exists (\S+)`).FindAllStringSubmatch(checkpoint.DDL, -1)
	require.Len(t, tables, 6)
	for _, table := range tables {
		require.True(t, slices.ContainsFunc(granted, func(g string) bool { return strings.HasSuffix(g, "ON "+table[1]) }), "nothing on %s", table[1])
	}
}

// A role may be called anything. Its name is quoted where it is a name, and where it is a text.
func TestHostileRolesAreQuoted(t *testing.T) {
	r := rights{n: Names{Schema: "awa", Role: `o'b"r; drop table x`}}
	need := awa.Need{Grant: `SELECT (queue) ON awa."it's"`}
	require.Equal(t, `GRANT SELECT (queue) ON awa."it's" TO "o'b""r; drop table x"`, r.grant(need))
	require.Equal(t, `INSERT INTO awa_counterd.grants (awa_schema, role_name, granted) VALUES ('awa', 'o''b"r; drop table x', 'SELECT (queue) ON awa."it''s"') ON CONFLICT DO NOTHING`,
		r.granted(need).RememberSQL())
}

func TestRemediesAreOneLine(t *testing.T) {
	require.Equal(t, "GRANT a TO b; INSERT INTO c", oneLine("GRANT a TO b;\nINSERT\n\t INTO c\n"))
}
