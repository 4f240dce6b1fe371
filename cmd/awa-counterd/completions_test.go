package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"
)

// madeBy is what the generated files say of where they come from.
const madeBy = "made by go test ./cmd/awa-counterd -run 'TestCompletions|TestManPage' -update"

// model is the command line as the parser sees it.
func model(t *testing.T) *kong.Application {
	t.Helper()
	k, err := kong.New(&cli{}, kong.Name("awa-counterd"), kong.Description(description), kong.DefaultEnvars("AWA_COUNTERD"))
	require.NoError(t, err)
	return k.Model
}

func commandNames(commands []*kong.Node) (out []string) {
	for _, c := range commands {
		out = append(out, c.Name)
	}
	return out
}

// ownFlags are those of a command, without --help.
func ownFlags(c *kong.Node) []*kong.Flag {
	return slices.DeleteFunc(slices.Clone(c.Flags), func(f *kong.Flag) bool { return f.Name == "help" || f.Hidden })
}

// sentence is the first one of a help text, for where there is room for one line.
func sentence(help string) string {
	first, _, _ := strings.Cut(help, ". ")
	return strings.TrimSuffix(first, ".")
}

func bashCompletion(app *kong.Application) string {
	var b strings.Builder
	commands := commandNames(app.Children)
	fmt.Fprintf(&b, `# bash completion for awa-counterd; %s
_awa_counterd() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command="" words="" i
	if [[ $cur == "=" ]]; then
		cur=""
	elif [[ $prev == "=" ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		%s)
			command=${COMP_WORDS[i]}
			break
			;;
		esac
	done
	COMPREPLY=()
	case $command:$prev in
`, madeBy, strings.Join(commands, " | "))
	var free []string // flags with a value that cannot be guessed
	for _, c := range app.Children {
		for _, f := range ownFlags(c) {
			switch {
			case f.Enum != "":
				fmt.Fprintf(&b, "\t%s:--%s) words=%q ;;\n", c.Name, f.Name, strings.Join(f.EnumSlice(), " "))
			case !f.IsBool():
				free = append(free, c.Name+":--"+f.Name)
			}
		}
	}
	fmt.Fprintf(&b, "\t%s) return ;;\n\t:*) words=\"%s --help\" ;;\n", strings.Join(free, " | "), strings.Join(commands, " "))
	for _, c := range app.Children {
		var flags []string
		for _, f := range ownFlags(c) {
			flags = append(flags, "--"+f.Name)
		}
		fmt.Fprintf(&b, "\t%s:*) words=%q ;;\n", c.Name, strings.Join(append(flags, "--help"), " "))
	}
	b.WriteString("\tesac\n\t" + `mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")` + "\n}\ncomplete -F _awa_counterd awa-counterd\n")
	return b.String()
}

func zshCompletion(app *kong.Application) string {
	quoted := strings.NewReplacer(`'`, `'\''`, `[`, `\[`, `]`, `\]`, `:`, `\:`)
	var b strings.Builder
	fmt.Fprintf(&b, `#compdef awa-counterd
# zsh completion for awa-counterd; %s
local curcontext=$curcontext state line
_arguments -C '(-h --help)'{-h,--help}'[show help]' '1:command:->command' '*::argument:->argument'
case $state in
command)
	local -a commands=(
`, madeBy)
	for _, c := range app.Children {
		fmt.Fprintf(&b, "\t\t'%s:%s'\n", c.Name, quoted.Replace(sentence(c.Help)))
	}
	b.WriteString("\t)\n\t_describe command commands\n\t;;\nargument)\n\tcase $line[1] in\n")
	for _, c := range app.Children {
		fmt.Fprintf(&b, "\t%s)\n\t\t_arguments '(-h --help)'{-h,--help}'[show help]'", c.Name)
		for _, f := range ownFlags(c) {
			text := quoted.Replace(sentence(f.Help))
			switch {
			case f.IsBool():
				fmt.Fprintf(&b, " \\\n\t\t\t'--%s[%s]'", f.Name, text)
			case f.Enum != "":
				fmt.Fprintf(&b, " \\\n\t\t\t'--%s=[%s]:value:(%s)'", f.Name, text, strings.Join(f.EnumSlice(), " "))
			default:
				fmt.Fprintf(&b, " \\\n\t\t\t'--%s=[%s]:value:'", f.Name, text)
			}
		}
		b.WriteString("\n\t\t;;\n")
	}
	b.WriteString("\tesac\n\t;;\nesac\n")
	return b.String()
}

func fishCompletion(app *kong.Application) string {
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var b strings.Builder
	fmt.Fprintf(&b, "# fish completion for awa-counterd; %s\ncomplete -c awa-counterd -f\ncomplete -c awa-counterd -s h -l help -d 'Show help'\n", madeBy)
	for _, c := range app.Children {
		fmt.Fprintf(&b, "complete -c awa-counterd -n __fish_use_subcommand -a %s -d '%s'\n", c.Name, quoted.Replace(sentence(c.Help)))
	}
	for _, c := range app.Children {
		for _, f := range ownFlags(c) {
			value := ""
			switch {
			case f.Enum != "":
				value = fmt.Sprintf(" -x -a '%s'", strings.Join(f.EnumSlice(), " "))
			case !f.IsBool():
				value = " -x"
			}
			fmt.Fprintf(&b, "complete -c awa-counterd -n '__fish_seen_subcommand_from %s' -l %s%s -d '%s'\n", c.Name, f.Name, value, quoted.Replace(sentence(f.Help)))
		}
	}
	return b.String()
}

// shipped compares with a file of deploy/, which go test -update writes.
func shipped(t *testing.T, name, got string) (path string) {
	t.Helper()
	path = filepath.Join(root, "deploy", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "%s is not what the flags are any more: go test ./cmd/awa-counterd -update", name)
	return path
}

// completes runs a shell of this machine, and compares the words that it prints.
func completes(t *testing.T, want []string, shell string, args ...string) {
	t.Helper()
	program, err := exec.LookPath(shell)
	if err != nil {
		t.Skipf("%s is not here: its completion is only compared with the flags", shell)
	}
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, want, strings.Fields(string(out)))
}

// The completions know every command, flag and value, and the shells that are here understand them.
func TestCompletions(t *testing.T) {
	app := model(t)
	t.Run("bash", func(t *testing.T) {
		path := shipped(t, "completions/awa-counterd.bash", bashCompletion(app))
		ask := func(words ...string) []string {
			return []string{"--norc", "-c", `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _awa_counterd; echo "${COMPREPLY[@]}"`, "bash", path, words[0]}
		}
		for _, c := range []struct{ typed, want []string }{
			{[]string{"awa-counterd", "s"}, []string{"status", "setup"}},
			{[]string{"awa-counterd", "run", "--tr"}, []string{"--trust"}},
			{[]string{"awa-counterd", "run", "--trust", "q"}, []string{"quiet"}},
			{[]string{"awa-counterd", "run", "--trust", "="}, []string{"live", "quiet", "off"}},
			{[]string{"awa-counterd", "run", "--trust", "=", "o"}, []string{"off"}},
			{[]string{"awa-counterd", "run", "--schema", ""}, []string{}},
			{[]string{"awa-counterd", "version", "--trust", "--h"}, []string{"--help"}}, // a flag of another command
		} {
			args := append(ask(c.typed[0]), c.typed[1:]...)
			completes(t, c.want, "bash", args...)
		}
	})
	t.Run("zsh", func(t *testing.T) {
		path := shipped(t, "completions/_awa-counterd", zshCompletion(app))
		completes(t, []string{}, "zsh", "-f", "-n", path)
	})
	t.Run("fish", func(t *testing.T) {
		path := shipped(t, "completions/awa-counterd.fish", fishCompletion(app))
		ask := func(line string) []string {
			return []string{"--no-config", "-c", fmt.Sprintf("source %s; complete -C '%s' | string split -f1 \\t", path, line)}
		}
		completes(t, []string{"setup", "status"}, "fish", ask("awa-counterd s")...)
		completes(t, []string{"--trust"}, "fish", ask("awa-counterd run --tr")...)
		completes(t, []string{"live", "off", "quiet"}, "fish", ask("awa-counterd run --trust ")...)
	})
}
