package replication

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSlotName(t *testing.T) {
	require.Equal(t, "awa_counterd_app_awa_", SlotName("app", "awa")[:21])
	require.NotEqual(t, SlotName("app", "awa"), SlotName("app2", "awa"))
	require.NotEqual(t, SlotName("a_b", "c"), SlotName("a", "b_c"))
	valid := regexp.MustCompile(`^[a-z0-9_]{1,63}$`)
	rapid.Check(t, func(t *rapid.T) {
		name := SlotName(rapid.String().Draw(t, "database"), rapid.String().Draw(t, "schema"))
		require.Regexp(t, valid, name)
	})
	require.LessOrEqual(t, len(PublicationName(strings.Repeat("x", 63))), 63)
}

func TestSlotBelongsToUs(t *testing.T) {
	ours := Slot{Name: "s", Plugin: Plugin, Database: "db"}
	require.NoError(t, ours.CheckUsable("db"))
	require.Error(t, ours.CheckUsable("other"))
	require.Error(t, Slot{Name: "s", Plugin: "wal2json", Database: "db"}.CheckUsable("db"))
}

// Names that begin alike must not share a publication: two daemons would take each other's tables out.
func TestPublicationNamesTellSchemasApart(t *testing.T) {
	require.Equal(t, "awa_counterd_awa", PublicationName("awa"))
	require.NotEqual(t, PublicationName("awa_queue_storage_eu"), PublicationName("awa_queue_storage_us"))
	long := strings.Repeat("x", 63)
	require.LessOrEqual(t, len(LedgerPublicationName(PublicationName(long))), 63)
	require.NotEqual(t, LedgerPublicationName(long), long)
}

// No publication of one schema has the name of one of another, of either kind.
func TestLedgersPublicationIsNobodyElses(t *testing.T) {
	whose := make(map[string]string)
	for _, schema := range []string{
		"awa", "awa_ledger", "awa_ledger_ledger", "x", "x_ledger", "_ledger", "abcdefghijk", "abcdefghijk_ledger", "abcdefghijk_ledger_more", "abcdefghijk_ledgers",
	} {
		first := PublicationName(schema)
		for _, name := range []string{first, LedgerPublicationName(first)} {
			require.Empty(t, whose[name], "%s of schema %s", name, schema)
			whose[name] = schema
		}
	}
	require.Equal(t, "awa", whose["awa_counterd_awa"])
	require.Equal(t, "awa", whose["awa_counterd_awa_ledger"])
}
