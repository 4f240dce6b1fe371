package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Start-up, doctor and setup agree on what a role needs, whoever asks: most often here a superuser, who has every right.
func TestRequirementsAreTheRoles(t *testing.T) {
	t.Run("rights on our schema", func(t *testing.T) {
		e := newEnv(t, fleet.Layout{Slots: 4})
		role := e.role("replication")
		e.says("setup", "--role", role)
		e.exec(`revoke update on awa_counterd.leader from ` + role)
		remedy := e.remedy("rights on schema awa_counterd", "UPDATE, DELETE ON awa_counterd.leader", "--role", role)
		require.Contains(t, e.says("setup", "--role", role, "--print-sql"), "awa_counterd.leader")
		e.paste(remedy)
		d := start(t, nil, "run", "--database-url", server.URL(role, "", e.db), "--no-setup")
		d.logged("marker set", 15*time.Second)
		_, failed := e.doctor("--role", role) // beside the server's settings nothing is
		for _, w := range failed {
			require.Equal(t, "WAL bounded", w.Name, "%+v", w)
		}
		require.Zero(t, d.stop())
	})
	t.Run("awa's active schema", func(t *testing.T) {
		e := newEnv(t, fleet.Layout{Slots: 4})
		role := e.role("replication")
		e.says("setup", "--role", role)
		e.exec(`revoke select on awa.runtime_storage_backends from ` + role)
		url := server.URL(role, "", e.db)
		refuses(t, refused, url, nil, "lacks SELECT ON awa.runtime_storage_backends")
		e.paste(e.remedy("right: SELECT ON awa.runtime_storage_backends", "", "--role", role))
		start(t, nil, "run", "--database-url", url).logged("marker set", 15*time.Second)
	})
	t.Run("awa's active schema is another one", func(t *testing.T) {
		e := newEnv(t, fleet.Layout{Slots: 4})
		require.NoError(t, fleet.Install(t.Context(), e.connect(), fleet.Layout{Schema: "other", Slots: 4}))
		role := e.role("replication")
		e.says("setup", "--role", role, "--schema", "other")
		e.exec(`insert into awa.runtime_storage_backends (backend, schema_name) values ('queue_storage', 'other')
			on conflict (backend) do update set schema_name = excluded.schema_name`)
		start(t, nil, "run", "--database-url", server.URL(role, "", e.db)).logged("marker set", 15*time.Second)
	})
	t.Run("a schema of our name that the role must not trust", func(t *testing.T) {
		e := newEnv(t, fleet.Layout{Slots: 4})
		role, thief, dba := e.role("replication"), e.role(""), e.role("")
		e.says("setup", "--role", role)
		e.exec(`alter schema awa_counterd owner to ` + thief)
		e.exec(fmt.Sprintf(`grant %s to %s`, thief, dba)) // who has the schema, and may trust it
		url := server.URL(role, "", e.db)
		refuses(t, refused, url, []string{"--no-setup"}, "belongs to role "+thief)
		code, out, errs := e.commandOn(server.URL(dba, "", e.db), "doctor", "--role", role, "--schema", "awa")
		require.Equal(t, 3, code, errs)
		require.Contains(t, out, "✘ schema awa_counterd: schema awa_counterd belongs to role "+thief)
		code, _, errs = e.commandOn(server.URL(dba, "", e.db), "setup", "--role", role, "--schema", "awa")
		require.Equal(t, refused, code)
		require.Contains(t, errs, "belongs to role "+thief)
		e.exec(fmt.Sprintf(`grant %s to %s`, thief, role))
		start(t, nil, "run", "--database-url", url, "--no-setup").logged("marker set", 15*time.Second)
	})
}
