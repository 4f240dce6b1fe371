package preflight

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/awa"
)

// A role may be called anything. Its name is quoted where it is a name, and where it is a text.
func TestHostileRolesAreQuoted(t *testing.T) {
	v := &visit{Target: Target{Schema: "awa", Role: `o'b"r; drop table x`}}
	need := awa.Need{Grant: `SELECT (queue) ON awa."it's"`}
	require.Equal(t, `GRANT SELECT (queue) ON awa."it's" TO "o'b""r; drop table x"`, grantSQL(need.Grant, v.Role))
	require.Equal(t, `INSERT INTO awa_counterd.grants (awa_schema, role_name, granted) VALUES ('awa', 'o''b"r; drop table x', 'SELECT (queue) ON awa."it''s"') ON CONFLICT DO NOTHING`,
		v.granted(need).RememberSQL())
}
