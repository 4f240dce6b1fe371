package e2e

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

var (
	sqlWord  = regexp.MustCompile(`[a-z_][a-z0-9_]*`)
	asked    = regexp.MustCompile(`current_setting\('(\w+)'`)
	inputRow = regexp.MustCompile("^\\| `(pg_\\w+|current_setting)` \\| ([^|]*) \\|")
	quoted   = regexp.MustCompile("`(\\w+)`")
)

// Whatever our SQL reads of the server's catalogs has a line in docs/inputs.md that says what happens when it changes, and no
// line is about what nobody reads.
func TestEveryCatalogColumnIsListed(t *testing.T) {
	known := catalogs(t)
	read := make(map[string]map[string]string) // columns by their possible relations, and where they are read
	for _, dir := range []string{"applier", "checkpoint", "cmd", "decoder", "internal", "reconcile", "replication"} {
		require.NoError(t, filepath.WalkDir(filepath.Join("..", dir), func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") && !strings.Contains(path, "mutants") {
				literals(t, path, func(text string) { note(read, known, path, text) })
			}
			return err
		}))
	}
	doc, err := os.ReadFile("../docs/inputs.md")
	require.NoError(t, err)
	listed := make(map[string][]string)
	for line := range strings.Lines(string(doc)) {
		if m := inputRow.FindStringSubmatch(line); m != nil {
			for _, q := range quoted.FindAllStringSubmatch(m[2], -1) {
				listed[m[1]] = append(listed[m[1]], q[1])
			}
		}
	}
	used := make(map[string]bool)
	for relations, columns := range read {
		for column, path := range columns {
			is := false
			for r := range strings.SplitSeq(relations, " ") {
				if slices.Contains(listed[r], column) {
					is, used[r+"."+column] = true, true
				}
			}
			require.True(t, is, "%s reads %s of %s, and docs/inputs.md does not list it", path, column, relations)
		}
	}
	for r, columns := range listed {
		for _, column := range columns {
			require.True(t, used[r+"."+column], "docs/inputs.md lists %s of %s, and nobody reads it", column, r)
		}
	}
}

// catalogs are the columns of the server's catalogs and views.
func catalogs(t *testing.T) map[string][]string {
	t.Helper()
	conn, err := server.Connect(t.Context(), "postgres")
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	rows, err := conn.Query(t.Context(), `select c.relname::text, array_agg(a.attname::text) from pg_class c join pg_attribute a on a.attrelid = c.oid
		where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind in ('r', 'v') and (a.attnum > 0 or a.attname = 'xmin') group by 1
		union all select 'pg_control_system', array['system_identifier']`)
	require.NoError(t, err)
	out := make(map[string][]string)
	var name string
	var columns []string
	_, err = pgx.ForEachRow(rows, []any{&name, &columns}, func() error {
		out[name] = slices.Clone(columns)
		return nil
	})
	require.NoError(t, err)
	out["pg_replication_slots"] = append(out["pg_replication_slots"], "invalidation_reason") // 17 and later
	return out
}

// literals hands out the strings of a Go file; what is put together of several with + is one.
func literals(t *testing.T, path string, each func(text string)) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	require.NoError(t, err)
	var visit func(n ast.Node) bool
	var joined func(n ast.Node) string
	joined = func(n ast.Node) string {
		switch e := n.(type) {
		case *ast.BinaryExpr:
			if e.Op == token.ADD {
				return joined(e.X) + " " + joined(e.Y)
			}
		case *ast.BasicLit:
			if e.Kind == token.STRING {
				text, err := strconv.Unquote(e.Value)
				require.NoError(t, err)
				return text
			}
		default:
			ast.Inspect(n, visit)
		}
		return ""
	}
	visit = func(n ast.Node) bool {
		switch n.(type) {
		case *ast.BinaryExpr, *ast.BasicLit:
			each(joined(n))
			return false
		}
		return true
	}
	ast.Inspect(file, visit)
}

// note finds the columns of catalogs that a piece of SQL names. Of which of its catalogs a column is, is not told.
func note(read map[string]map[string]string, known map[string][]string, path, text string) {
	add := func(relations, column string) {
		if read[relations] == nil {
			read[relations] = make(map[string]string)
		}
		read[relations][column] = path
	}
	words := sqlWord.FindAllString(text, -1)
	if !slices.Contains(words, "select") { // advice
		return
	}
	for _, w := range words {
		var of []string
		for r, columns := range known {
			if slices.Contains(words, r) && slices.Contains(columns, w) {
				of = append(of, r)
			}
		}
		if slices.Sort(of); len(of) > 0 {
			add(strings.Join(of, " "), w)
		}
	}
	for _, m := range asked.FindAllStringSubmatch(text, -1) {
		add("current_setting", m[1])
	}
}
