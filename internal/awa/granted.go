package awa

import (
	"context"
	"fmt"
	"regexp"
	"strings"
)

var (
	grantParts   = regexp.MustCompile(`^(.*?) ON (SCHEMA )?(.*)$`)
	grantedTable = regexp.MustCompile(`([a-z_][a-z0-9_]*)\.("(?:[^"]|"")*"|[a-z_][a-z0-9_]*)`)
)

// WhatIsLeft is a grant (Need.Grant), less the tables and schemas that are gone; "" where all are. A schema that was called was when
// it was granted is called now by this time; that is "" where it is gone.
func WhatIsLeft(ctx context.Context, q Querier, grant string, was, now Schema) (string, error) {
	parts := grantParts.FindStringSubmatch(grant)
	if parts == nil {
		return "", fmt.Errorf("%q is no grant of awa-counterd's", grant)
	}
	current := func(name string) Schema {
		if Schema(name) == was {
			return now
		}
		return Schema(name)
	}
	var left []string
	if right, schema := parts[1], parts[2] != ""; schema {
		name := string(current(parts[3]))
		there, err := exists(ctx, q, `select exists (select 1 from pg_namespace where nspname = $1)`, name)
		if err != nil || !there {
			return "", err
		}
		return right + " ON SCHEMA " + name, nil
	}
	for _, m := range grantedTable.FindAllStringSubmatch(parts[3], -1) {
		schema, name := current(m[1]), m[2]
		if strings.HasPrefix(name, `"`) {
			name = strings.ReplaceAll(name[1:len(name)-1], `""`, `"`)
		}
		there, err := exists(ctx, q, `select exists (select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2)`,
			string(schema), name)
		if err != nil {
			return "", err
		}
		if there {
			left = append(left, schema.table(name))
		}
	}
	if len(left) == 0 {
		return "", nil
	}
	return parts[1] + " ON " + strings.Join(left, ", "), nil
}

func exists(ctx context.Context, q Querier, sql string, args ...any) (there bool, err error) {
	if err := q.QueryRow(ctx, sql, args...).Scan(&there); err != nil {
		return false, fmt.Errorf("look what is left of what was granted: %w", err)
	}
	return there, nil
}
