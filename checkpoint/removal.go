package checkpoint

import (
	"context"
	"fmt"
)

// Removal is a statement that takes something of ours away.
type Removal struct{ What, SQL string }

// PlanRemoval takes our schema away, or only what is in it for this awa schema while others use it.
func PlanRemoval(ctx context.Context, c Conn, awaSchema string) ([]Removal, error) {
	var there bool
	if err := c.QueryRow(ctx, `select exists (select 1 from pg_namespace where nspname = $1)`, SchemaName).Scan(&there); err != nil || !there {
		return nil, err
	}
	whole, err := Exists(ctx, c)
	if err != nil {
		return nil, err
	}
	others := false
	if whole {
		if err := c.QueryRow(ctx, `select exists (select 1 from awa_counterd.leader where awa_schema <> $1)`, awaSchema).Scan(&others); err != nil {
			return nil, fmt.Errorf("look at schema %s: %w", SchemaName, err)
		}
	}
	if !others {
		return []Removal{{"drop schema " + SchemaName, "DROP SCHEMA " + SchemaName + " CASCADE"}}, nil
	}
	var out []Removal
	all := Tables()
	for _, t := range append(all[1:], grantsTable, all[0]) { // who leads goes last
		out = append(out, Removal{
			fmt.Sprintf("empty %s of schema %s", qualified(t), awaSchema),
			fmt.Sprintf("DELETE FROM %s WHERE awa_schema = '%s'", qualified(t), awaSchema),
		})
	}
	return out, nil
}
