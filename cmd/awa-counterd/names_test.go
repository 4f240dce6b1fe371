package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// oneRoom are names of tables and columns that one package knows, and where else they may stand: in words for people.
var oneRoom = []struct {
	names   *regexp.Regexp
	room    string
	besides map[string]string // and why
}{
	{
		names: regexp.MustCompile(`\bawa_counterd\b`), room: "checkpoint",
		besides: map[string]string{"internal/listener/metrics.go": "the metrics have it before their names", "internal/awa/schema.go": "a name that awa's cannot have"},
	},
	{
		names: regexp.MustCompile(`\b(done_entries|queue_(terminal|ring)_\w+|runtime_(instances|storage_backends)|receipt_completion_batches` +
			`|live_terminal_count|counter_bucket|terminal_delta|terminal_counter_trusted_at|pruned_\w+_(count|delta))\b`),
		room: "internal/awa",
		besides: map[string]string{
			"cmd/awa-counterd/main.go":      "help",
			"cmd/awa-counterd/status.go":    "what could not be looked at",
			"internal/listener/advice.go":   "advice",
			"internal/listener/families.go": "help",
			"internal/status/next_step.go":  "what could not be looked at",
			"checkpoint/schema.go":          "a comment on a column of its own",
		},
	},
}

// What is in our schema is known in checkpoint only, what is in awa's in internal/awa only; tests that imitate or read either
// aside. Text that is put together of pieces is not found, so nobody is to put it together.
func TestNamesHaveOneRoom(t *testing.T) {
	used := make(map[string]bool)
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch rel = filepath.ToSlash(rel); {
		case d.IsDir() && (rel == "e2e" || rel == "deploy" || rel == "tmp" || rel == "internal/testonly/mutants" || strings.HasPrefix(rel, ".git")):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			require.NoError(t, err)
			for _, k := range oneRoom {
				if found := k.names.FindString(text); found != "" && !strings.HasPrefix(rel, k.room+"/") {
					require.NotEmpty(t, k.besides[rel], "%s says %s, which only %s is to know", rel, found, k.room)
					used[rel] = true
				}
			}
			return true
		})
		return nil
	}))
	for _, k := range oneRoom {
		for rel := range k.besides {
			require.True(t, used[rel], "%s is excepted, and needs no exception", rel)
		}
	}
}

// There are replication slots and ring slots: a field of the log with the bare word says neither.
func TestLogFieldsSayWhichSlot(t *testing.T) {
	said := make(map[string]int)
	for _, dir := range []string{"applier", "checkpoint", "cmd", "internal", "reconcile", "replication"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				f, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || named(f.X) != "zap" && f.Sel.Name != "info" && f.Sel.Name != "warn" {
					return true
				}
				for _, argument := range call.Args {
					said[literal(argument)]++
					require.NotEqual(t, "slot", literal(argument), "%s: say replication_slot or ring_slot", path)
				}
				return true
			})
			return nil
		}))
	}
	require.Positive(t, said["replication_slot"])
	require.Positive(t, said["ring_slot"])
}
