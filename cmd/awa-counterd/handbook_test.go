package main

import (
	"fmt"
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

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/handbook"
	"github.com/awa-counterd/awa-counterd/internal/preflight"
)

const root = "../.."

func pages(t *testing.T) []*handbook.Page {
	t.Helper()
	all, err := handbook.Pages(root)
	require.NoError(t, err)
	require.Greater(t, len(all), 10)
	return all
}

// Every relative link leads to a file that is there, and every anchor to a heading.
func TestHandbookLinks(t *testing.T) {
	for _, p := range pages(t) {
		for _, to := range p.Links() {
			if strings.Contains(to, "://") {
				continue
			}
			file, anchor, _ := strings.Cut(to, "#")
			target := p.Path
			if file != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(p.Path), file))
			}
			_, err := os.Stat(filepath.Join(root, target))
			require.NoError(t, err, "%s links to %s", p.Path, to)
			if anchor == "" {
				continue
			}
			there, err := handbook.Read(root, target)
			require.NoError(t, err)
			require.True(t, there.Anchors()[anchor], "%s links to %s, and %s has no such heading", p.Path, to, target)
		}
	}
}

// grammar is what the command line understands.
type grammar struct {
	flags    map[string]map[string]bool // by command
	any      map[string]bool            // flags of any command
	variable map[string]bool
}

func understood(t *testing.T) grammar {
	t.Helper()
	k, err := kong.New(&cli{}, kong.Name("awa-counterd"), kong.DefaultEnvars("AWA_COUNTERD"))
	require.NoError(t, err)
	g := grammar{flags: make(map[string]map[string]bool), any: map[string]bool{"help": true}, variable: make(map[string]bool)}
	for _, command := range k.Model.Children {
		g.flags[command.Name] = map[string]bool{"help": true}
		for _, f := range command.Flags {
			g.flags[command.Name][f.Name], g.any[f.Name] = true, true
			for _, name := range f.Envs {
				g.variable[name] = true
			}
		}
	}
	return g
}

var (
	longFlag  = regexp.MustCompile(`(?:^|[\s(])--([a-z][a-z-]+)`)
	called    = regexp.MustCompile(`\bawa-counterd ((?:--)?[a-z][a-z-]*)([^;|&\n]*)`)
	variables = regexp.MustCompile(`\bAWA_COUNTERD_[A-Z_]+\b`)
	targets   = regexp.MustCompile(`(?:^|&& )make ([a-z][a-z0-9-]*)`)
)

// commands are the pieces of a page that somebody might type.
func commands(p *handbook.Page) []string {
	all := p.Spans()
	for _, b := range p.Blocks() {
		if b.Language == "sh" {
			all = append(all, b.Lines...)
		}
	}
	return all
}

// notOurs are long flags of other programs that the pages name.
func notOurs() map[string]bool {
	return map[string]bool{"pre": true, "build": true, "build-arg": true, "for": true, "from-literal": true, "now": true}
}

// Every command, flag, variable and make target that the pages name is there.
func TestHandbookCommands(t *testing.T) {
	g := understood(t)
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	require.NoError(t, err)
	for _, p := range pages(t) {
		for _, text := range commands(p) {
			for _, m := range called.FindAllStringSubmatch(text, -1) {
				if m[1] == "--help" {
					continue
				}
				flags, ok := g.flags[m[1]]
				if !ok && !strings.HasPrefix(strings.TrimSpace(m[2]+" --"), "--") {
					continue // a message that begins with the name
				}
				require.True(t, ok, "%s: %q: there is no command %s", p.Path, text, m[1])
				for _, f := range longFlag.FindAllStringSubmatch(m[2], -1) {
					require.True(t, flags[f[1]], "%s: %q: %s has no flag --%s", p.Path, text, m[1], f[1])
				}
			}
			for _, f := range longFlag.FindAllStringSubmatch(text, -1) {
				require.True(t, g.any[f[1]] || notOurs()[f[1]], "%s: %q: no command has a flag --%s", p.Path, text, f[1])
			}
			for _, name := range variables.FindAllString(text, -1) {
				require.True(t, g.variable[name] || name == "AWA_COUNTERD_", "%s: no flag reads %s", p.Path, name)
			}
			for _, m := range targets.FindAllStringSubmatch(text, -1) {
				require.True(t, strings.Contains(string(makefile), "\n"+m[1]+":"), "%s: %q: the Makefile has no such target", p.Path, text)
			}
		}
	}
}

var (
	sourceFile = regexp.MustCompile(`^[\w./-]+\.(go|service|sh|ya?ml)$`)
	folder     = regexp.MustCompile(`^(\.ci|\.github|applier|checkpoint|cmd|decoder|deploy|docs|e2e|internal|reconcile|replication)(/[\w.-]+)*/?$`)
	testName   = regexp.MustCompile(`^(Test|Fuzz)[A-Z]\w+$`)
	testFunc   = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

// Every file, folder and test that the pages name is there.
func TestHandbookNames(t *testing.T) {
	files, tests := make(map[string]bool), make(map[string]bool)
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		files[d.Name()] = true
		if strings.HasSuffix(path, "_test.go") {
			b, err := os.ReadFile(path)
			for _, m := range testFunc.FindAllStringSubmatch(string(b), -1) {
				tests[m[1]] = true
			}
			return err
		}
		return nil
	}))
	for _, p := range pages(t) {
		if p.Path == "CHANGELOG.md" || strings.HasPrefix(p.Path, "docs/reports/") { // they tell of what was
			continue
		}
		for _, span := range p.Spans() {
			switch {
			case testName.MatchString(span):
				require.True(t, tests[span], "%s names %s", p.Path, span)
			case folder.MatchString(span) || strings.Contains(span, "/") && sourceFile.MatchString(span):
				_, err := os.Stat(filepath.Join(root, span))
				require.NoError(t, err, "%s names %s", p.Path, span)
			case sourceFile.MatchString(span):
				require.True(t, files[span], "%s names %s", p.Path, span)
			}
		}
	}
}

var (
	cited   = regexp.MustCompile(`docs/([a-z-]+\.md)(?:((?:,? (?:and |to )?§\d+)+))?`)
	section = regexp.MustCompile(`§(\d+)`)
)

// Every page that the code cites is there, and every section of it.
func TestHandbookCitations(t *testing.T) {
	require.NoError(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range cited.FindAllStringSubmatch(string(source), -1) {
			p, err := handbook.Read(root, "docs/"+m[1])
			require.NoError(t, err, "%s cites docs/%s", path, m[1])
			for _, n := range section.FindAllStringSubmatch(m[2], -1) {
				require.True(t, strings.Contains(p.Whole(), "\n## "+n[1]+". "), "%s cites docs/%s §%s", path, m[1], n[1])
			}
		}
		return nil
	}))
}

// message is a text of the code that a person may have to read, with … where something is put in.
type message struct{ text, where string }

var verb = regexp.MustCompile(`%(\[\d+\])?[-+]?[\d.]*[a-zA-Z]`)

// messages collects what the product logs, refuses with, and gives as a reason for the marker or for a scan.
func messages(t *testing.T) (all []message) {
	t.Helper()
	fset := token.NewFileSet()
	for _, dir := range []string{"applier", "checkpoint", "cmd/awa-counterd", "internal", "reconcile", "replication"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(fset, path, nil, 0)
			if err != nil {
				return err
			}
			add := func(e ast.Expr) {
				if text := literal(e); text != "" {
					all = append(all, message{text, fset.Position(e.Pos()).String()})
				}
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					if i, ok := told(n); ok && i < len(n.Args) {
						add(n.Args[i])
					}
				case *ast.CompositeLit:
					switch {
					case len(n.Elts) == 0:
					case named(n.Type) == "ShapeError":
						add(unkeyed(n.Elts[len(n.Elts)-1]))
					case named(n.Type) == "Refusal":
						add(unkeyed(n.Elts[0]))
					case named(n.Type) == "Doubt" && len(n.Elts) == 2:
						add(n.Elts[1])
					}
				case *ast.FuncDecl: // functions that return nothing but reasons
					switch n.Name.Name {
					case "RescanReason", "next", "uncountedMessage", "Loss":
						ast.Inspect(n, func(r ast.Node) bool {
							if ret, ok := r.(*ast.ReturnStmt); ok {
								for _, text := range ret.Results {
									add(text)
								}
							}
							return true
						})
					}
				}
				return true
			})
			return nil
		}))
	}
	return all
}

// told says which argument of a call a person reads.
func told(call *ast.CallExpr) (argument int, ok bool) {
	switch called := call.Fun.(type) {
	case *ast.SelectorExpr:
		switch called.Sel.Name {
		case "Info", "Warn", "Error", "info", "warn":
			return 0, len(call.Args) > 0
		case "New": // errors that end a session
			return 0, named(called.X) == "errors"
		case "Errorf":
			return 0, slices.ContainsFunc(call.Args, func(e ast.Expr) bool { return slices.Contains(ends(), named(e)) })
		case "String": // why the marker is cleared
			return 1, len(call.Args) == 2 && literal(call.Args[0]) == "reason"
		case "Refuse":
			return 1, true
		}
	case *ast.Ident:
		switch called.Name {
		case "Refuse", "doubt": // doubt: a reason of the marker, formatted
			return 1, true
		case "found": // doctor's checks
			return 0, true
		case "orRefuse":
			return 2, true
		}
	}
	return 0, false
}

// ends are errors of whole families that end a session, with more behind them.
func ends() []string {
	return []string{"ErrObjectsChanged", "errMigrated", "ErrTooMuchWAL", "ErrSilent", "ErrPastEnd"}
}

func named(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func unkeyed(e ast.Expr) ast.Expr {
	if kv, ok := e.(*ast.KeyValueExpr); ok {
		return kv.Value
	}
	return e
}

// literal is the text of an expression made of literals, joined or formatted; what is put in is …
func literal(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "…"
		}
		text, err := strconv.Unquote(e.Value)
		if err != nil {
			return ""
		}
		return verb.ReplaceAllString(text, "…")
	case *ast.BinaryExpr:
		return literal(e.X) + literal(e.Y)
	case *ast.CallExpr:
		if named(e.Fun) == "Sprintf" && len(e.Args) > 0 {
			return literal(e.Args[0])
		}
	}
	return "…"
}

// Whatever the product says, the page of what-ifs (or the one that says what is logged in passing) has it word for
// word, so that a person on call who searches for it finds it.
func TestHandbookExplainsEveryMessage(t *testing.T) {
	p, err := handbook.Read(root, "docs/what-if.md")
	require.NoError(t, err)
	page := strings.Join(strings.Fields(p.Whole()), " ")
	all := messages(t)
	require.Greater(t, len(all), 80, "the messages are not found any more")
	var missing []string
	for _, m := range all {
		for piece := range strings.SplitSeq(m.text, "…") {
			piece = strings.Join(strings.Fields(strings.Trim(piece, " ,:;()")), " ")
			if len(piece) < 9 {
				continue
			}
			if !strings.Contains(page, piece) {
				missing = append(missing, m.where+": "+m.text)
			}
		}
	}
	require.Empty(t, missing, "docs/what-if.md does not explain:\n%s", strings.Join(missing, "\n"))
}

// The page of what-ifs lists the requirements as they stand in the code: what doctor checks, whatever it means, what start-up refuses
// and what setup sees to.
func TestHandbookListsTheRequirements(t *testing.T) {
	var b strings.Builder
	b.WriteString("| check | without it | start-up refuses | `setup` sees to it |\n|---|---|---|---|\n")
	yes := map[bool]string{true: "yes"}
	for _, r := range preflight.Requirements() {
		var names []string
		for _, name := range append([]string{r.Name}, r.Also...) {
			if strings.HasSuffix(name, " ") {
				name += "…"
			}
			names = append(names, "`"+name+"`")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", strings.Join(names, ", "), r.Means, yes[r.Refuses], yes[r.Planned()])
	}
	file := filepath.Join(root, "docs", "what-if.md")
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	before, after, found := strings.Cut(string(page), "| check | ")
	require.True(t, found)
	_, after, found = strings.Cut(after, "\n\n")
	require.True(t, found)
	want := before + b.String() + "\n" + after
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(want), 0o600))
	}
	require.Equal(t, want, string(page), "go test ./cmd/awa-counterd -run TestHandbookListsTheRequirements -update")
}
