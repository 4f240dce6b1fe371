package e2e

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Every supported major version other than the one that the rest of the suite runs on: a mixed
// fleet, a kill, a prune, a streamed transaction with a rolled back savepoint, a resume.
func TestVersions(t *testing.T) {
	t.Parallel()
	if major := os.Getenv(cluster.MajorVariable); major != "" {
		t.Skipf("the whole suite runs on PostgreSQL %s; each version has its own turn in make matrix", major)
	}
	mine, err := cluster.Version(t.Context(), pgBin)
	require.NoError(t, err)
	for _, major := range cluster.Majors() {
		if strings.HasPrefix(mine, major+".") {
			continue
		}
		t.Run(major, func(t *testing.T) {
			bin, err := cluster.OfMajor(t.Context(), major, os.Stderr)
			require.NoError(t, err)
			c, err := cluster.Start(t.Context(), cluster.Options{Bin: bin, Settings: map[string]string{"logical_decoding_work_mem": "64kB"}})
			require.NoError(t, err)
			t.Cleanup(func() { _ = c.Close() })
			e := newEnvOn(t, c, fleet.Layout{})
			f := e.fleet(fleet.Config{Pre: 2, Post: 2, Pause: 10 * time.Millisecond, Prune: 300 * time.Millisecond, Seed: 61})
			d := e.daemon("--checkpoint-interval", "200ms", "--audit-interval", "1s")
			e.marker(true, 20*time.Second)
			k := fleet.Key{Slot: 1, Queue: "billing", Priority: 1}
			e.do(false, func(tx pgx.Tx, w fleet.Writer) error {
				if err := w.Insert(t.Context(), tx, k, 20_000, "", ""); err != nil {
					return err
				}
				return e.savepoints(t.Context(), tx, w, k)
			})
			e.wait(500 * time.Millisecond)
			d.kill()
			d = e.daemon("--checkpoint-interval", "200ms", "--audit-interval", "1s")
			d.logged("resuming from the checkpoint", 10*time.Second)
			e.marker(true, 20*time.Second)
			e.wait(time.Second)
			require.Zero(t, d.stop())
			d = e.daemon("--slot-lifetime", "temporary") // made by a walsender, in the grammar of each version
			d.logged("marker set", 20*time.Second)
			f.Stop()
			e.balanced(2 * time.Second)
			e.readersAgree(fourQueues...)
			e.noMismatch(d)
			require.Empty(t, f.Errors())
			require.Zero(t, d.stop())
		})
	}
}

func TestRefusesOldServer(t *testing.T) {
	bin, err := cluster.OfMajor(t.Context(), "13", os.Stderr)
	require.NoError(t, err)
	c, err := cluster.Start(t.Context(), cluster.Options{Bin: bin})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	e := newEnvOn(t, c, fleet.Layout{Slots: 4})
	refuses(t, refused, e.url(), nil, "PostgreSQL 13.", " is too old", "upgrade the server")
}
