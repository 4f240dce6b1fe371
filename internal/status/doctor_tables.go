package status

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// rowSecurity looks for tables of which the daemon's role would see a part only.
func (d *doctor) rowSecurity(ctx context.Context) {
	tables, err := d.layout.RowSecurityFor(ctx, d.Conn, "$1", d.Names.Role)
	detail, remedy := "every row is seen", ""
	if len(tables) > 0 {
		detail = listed(tables) + ": hidden rows would make counters wrong, so the daemon refuses"
		remedy = fmt.Sprintf("ALTER ROLE %s BYPASSRLS", pgx.Identifier{d.Names.Role}.Sanitize())
	}
	d.check("row level security", err, len(tables) == 0, detail, remedy)
}

// triggersAndRules names triggers and rules that can change what is written, or keep corrections from having an effect.
func (d *doctor) triggersAndRules(ctx context.Context) {
	found, err := d.layout.TriggersAndRules(ctx, d.Conn)
	detail, remedy := "none on the tables that are written or counted", ""
	if len(found) > 0 {
		detail = listed(found) + ": not awa's; corrections may have no effect or another one"
		remedy = fmt.Sprintf("DROP %s %s", strings.ToUpper(found[0].Kind), fmt.Sprintf("%s ON %s", pgx.Identifier{found[0].Name}.Sanitize(), found[0].Table))
	}
	d.check("triggers and rules", err, len(found) == 0, detail, remedy)
}

func listed[T fmt.Stringer](all []T) string {
	names := make([]string, 0, len(all))
	for _, one := range all {
		names = append(names, one.String())
	}
	return strings.Join(names, ", ")
}
