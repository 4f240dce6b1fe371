package main

import (
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

	"github.com/stretchr/testify/require"
)

const module = "github.com/awa-counterd/awa-counterd/"

// apart is what docs/architecture.md leaves out of its picture: what only tests use, and two packages of the ground that
// need no arrow to be understood.
var apart = regexp.MustCompile(`^(e2e|tmp|internal/testonly|internal/base/(pgsnap|failpoint))(/|$)`)

// imports are those between packages that ship, tests left out.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	out := make(map[string][]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil || apart.MatchString(filepath.ToSlash(rel)) {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range file.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			of, ours := strings.CutPrefix(name, module)
			if from := filepath.ToSlash(rel); ours && !apart.MatchString(of) && !slices.Contains(out[from], of) {
				out[from] = append(out[from], of)
			}
		}
		return nil
	})
	require.NoError(t, err)
	return out
}

var (
	nodes  = regexp.MustCompile(`(\w+)\["([^<"]+)`)
	arrows = regexp.MustCompile(`^\s*(\w+)\S*.* --> (\w+)`)
)

// picture are the arrows of docs/architecture.md.
func picture(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	require.NoError(t, err)
	_, after, found := strings.Cut(string(page), "```mermaid\nflowchart TD\n")
	require.True(t, found)
	drawing, _, _ := strings.Cut(after, "```")
	names := make(map[string]string)
	for _, m := range nodes.FindAllStringSubmatch(drawing, -1) {
		names[m[1]] = m[2]
	}
	name := func(id string) string {
		if names[id] == "" {
			return id
		}
		return names[id]
	}
	out := make(map[string][]string)
	for line := range strings.SplitSeq(drawing, "\n") {
		if m := arrows.FindStringSubmatch(line); m != nil {
			out[name(m[1])] = append(out[name(m[1])], name(m[2]))
		}
	}
	return out
}

func leads(graph map[string][]string, from, to string) bool {
	return slices.ContainsFunc(graph[from], func(next string) bool { return next == to || leads(graph, next, to) })
}

// The picture of the packages is what the code is: every arrow is an import, and every import an arrow or a longer way
// along arrows. Nothing points up, so no way comes back.
func TestArchitectureShowsTheImports(t *testing.T) {
	built, drawn := imports(t), picture(t)
	require.NotEmpty(t, built)
	for from, all := range drawn {
		for _, to := range all {
			require.Contains(t, built[from], to, "no file of %s imports %s", from, to)
		}
	}
	for from, all := range built {
		for _, to := range all {
			require.True(t, leads(drawn, from, to), "%s imports %s, and docs/architecture.md shows no way", from, to)
		}
	}
}
