package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/handbook"
)

var (
	codeSpan = regexp.MustCompile("`([^`]+)`")
	exitCode = regexp.MustCompile(`(?m)^\| (\d) \| (.+) \| .+ \|$`)
)

// roff is text as man(7) wants it: backslashes and dashes escaped, code in bold, no line that begins like a request.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, `-`, `\-`).Replace(text)
	text = codeSpan.ReplaceAllString(text, `\fB$1\fR`)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}

func manPage(t *testing.T, app *kong.Application) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, ".\\\" %s\n.TH AWA\\-COUNTERD 1 \"\" awa\\-counterd \"User Commands\"\n.SH NAME\nawa\\-counterd \\- keep awa's terminal counters right from the outside\n", madeBy)
	b.WriteString(".SH SYNOPSIS\n.B awa\\-counterd\n.I command\n.RI [ flag \\ ...]\n.SH DESCRIPTION\n")
	for i, paragraph := range strings.Split(description, "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		b.WriteString(roff(strings.ReplaceAll(paragraph, "\n", " ")) + "\n")
	}
	b.WriteString(".SH COMMANDS\n")
	for _, c := range app.Children {
		fmt.Fprintf(&b, ".SS %s\n%s\n", c.Name, roff(c.Help))
		for _, f := range ownFlags(c) {
			value := ""
			if !f.IsBool() {
				value = "=\\fI" + roff(f.FormatPlaceHolder()) + "\\fR"
			}
			fmt.Fprintf(&b, ".TP\n\\fB%s\\fR%s\n%s\n", roff("--"+f.Name), value, roff(f.Help))
			if f.Enum != "" {
				fmt.Fprintf(&b, "One of %s.\n", strings.Join(f.EnumSlice(), ", "))
			}
			if len(f.Envs) > 0 {
				fmt.Fprintf(&b, "Also \\fB%s\\fR.\n", strings.Join(f.Envs, "\\fR, \\fB"))
			}
		}
	}
	operations, err := handbook.Read(root, "docs/operations.md")
	require.NoError(t, err)
	b.WriteString(".SH EXIT STATUS\n")
	codes := exitCode.FindAllStringSubmatch(operations.Whole(), -1)
	require.Len(t, codes, exitRefused+1, "the table of exit codes in docs/operations.md")
	for _, m := range codes {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", m[1], roff(m[2]))
	}
	b.WriteString(".SH SIGNALS\n\\fBSIGTERM\\fR, \\fBSIGINT\\fR and \\fBSIGHUP\\fR stop it within 10 seconds; a second one ends it at once.\n" +
		".SH SEE ALSO\nThe handbook, in the folder docs of the source.\n")
	return b.String()
}

// The man page has every command, flag and exit code, and the formatters that are here have nothing to say about it.
func TestManPage(t *testing.T) {
	app := model(t)
	text := manPage(t, app)
	path := shipped(t, "awa-counterd.1", text)
	for _, args := range [][]string{{"groff", "-man", "-Tutf8", "-ww", "-z", path}, {"mandoc", "-Tlint", "-Werror", path}} {
		program, err := exec.LookPath(args[0])
		if err != nil {
			t.Logf("%s is not here: the page is only compared with the flags", args[0])
			continue
		}
		out, err := exec.CommandContext(t.Context(), program, args[1:]...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Empty(t, string(out), args[0])
	}
}
