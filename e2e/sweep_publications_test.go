package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

const sweptSchema = "removed what was stored of another awa schema"

// A schema is renamed, and its daemon told to go on with the publication that is there: the sweep of the former name leaves what it works with.
func TestSweepLeavesThePublicationInUse(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 30*time.Second)
	require.Zero(t, d.stop())
	oid := e.scalar(`select oid::int8 from pg_publication where pubname = 'awa_counterd_awa'`)
	e.exec(`alter schema awa rename to jobs`)
	e.layout.Schema = "jobs"
	d = e.daemon("--schema", "jobs", "--publication", "awa_counterd_awa", "--checkpoint-interval", "200ms")
	swept := fmt.Sprint(d.logged(sweptSchema, 30*time.Second))
	require.EqualValues(t, oid, e.scalar(`select coalesce(max(oid::int8), 0) from pg_publication where pubname = 'awa_counterd_awa'`), swept)
	require.Contains(t, swept, "left:[awa_counterd_awa awa_counterd_awa_ledger]")
	e.marker(true, 30*time.Second)
	require.Zero(t, d.stop())
}

// Somebody publishes all tables of a schema of theirs by the publication of a schema that was renamed: it names no table of theirs.
func TestSweepLeavesASchemaOfOthers(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	if e.scalar(`select current_setting('server_version_num')::int8`) < 150000 {
		t.Skip("there is no FOR TABLES IN SCHEMA before 15")
	}
	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 30*time.Second)
	require.Zero(t, d.stop())
	e.exec(`create schema theirs; create table theirs.orders (id int primary key); alter publication awa_counterd_awa add tables in schema theirs; alter schema awa rename to jobs`)
	e.layout.Schema = "jobs"
	d = e.daemon("--schema", "jobs")
	swept := fmt.Sprint(d.logged(sweptSchema, 30*time.Second))
	require.EqualValues(t, 1, e.published("awa_counterd_awa", "orders"), swept)
	require.Contains(t, swept, "left:[awa_counterd_awa]")
	require.Zero(t, d.stop())
}

// A schema that awa has left is renamed: what its daemon published it by is nobody's any more, and nobody would know it after the sweep.
func TestSweepOfARenamedSchemaThatAwaHasLeft(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	require.NoError(t, fleet.Install(t.Context(), e.connect(), fleet.Layout{Schema: "other", Slots: 4, Shape: fleet.Ledger}))
	d := e.daemon("--schema", "other", "--checkpoint-interval", "200ms")
	d.logged("marker set", 30*time.Second)
	require.Zero(t, d.stop())
	e.exec(`alter schema other rename to other_old`)
	d = e.daemon("--schema", "awa", "--checkpoint-interval", "200ms")
	e.marker(true, 30*time.Second)
	swept := fmt.Sprint(d.logged(sweptSchema, 30*time.Second))
	require.Contains(t, swept, "publications:[awa_counterd_other awa_counterd_other_ledger]")
	require.Zero(t, d.stop())
	e.says("teardown", "--schema", "awa")
	e.nothingOfOurs()
}
