package checkpoint

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The daemon's role gets a right on every table that we make. One that was forgotten shows only where the role is
// not the owner.
func TestEveryTableOfOursIsGranted(t *testing.T) {
	var granted []string
	for _, need := range Rights() {
		granted = append(granted, need.Grant)
		rights, _, _ := strings.Cut(need.Grant, " ON ")
		for right := range strings.SplitSeq(rights, ", ") {
			require.Contains(t, need.Check, "'"+right+"'", "%s is checked by %s", need.Grant, need.Check)
		}
	}
	tables := regexp.MustCompile(`create table if not exists (\S+)`).FindAllStringSubmatch(DDL, -1)
	require.Len(t, tables, 7)
	for _, table := range tables {
		require.True(t, slices.ContainsFunc(granted, func(g string) bool { return strings.HasSuffix(g, "ON "+table[1]) }), "nothing on %s", table[1])
	}
}
