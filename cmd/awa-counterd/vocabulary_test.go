package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// retired are words and phrases that this project had for things which have a plain or a usual name, and that name.
var retired = map[string]string{
	`of ours|(of )?our own`: "of awa-counterd, the daemon's own",
	`anew`:                  "again; made anew: created again",
	`written uncounted`:     "uncounted writes",
	`(the )?marker falls`:   "the marker is cleared",
	`trust since`:           "trust set, and for how long",
	`sidecar`:               "daemon",
	`survey`:                "status, preflight",
	`belongings`:            "provision",
	`veil`:                  "invisible",
	`gulp`:                  "readSize",
	`farewell`:              "endCopy",
	`hurries`:               "needsPromptToken",
	`arena`:                 "env",
	`crew`:                  "supervisors",
	`curtain|intermission`:  "schedule",
	`slaughter`:             "faults_daemon",
	`play(s|ed|ing)?`:       "run, a run, a round",
}

// keeps is where one of them has to stay.
var keeps = map[string]string{
	"e2e/realawa/result.go":               "sidecar", // the key of results that were kept
	"cmd/awa-counterd/vocabulary_test.go": "",
}

// Two words for one thing do not come back, in code, comments, messages and pages.
func TestRetiredWords(t *testing.T) {
	words := make(map[*regexp.Regexp]string, len(retired))
	for pattern, name := range retired {
		words[regexp.MustCompile(`(?i)\b(`+pattern+`)\b`)] = name
	}
	read := 0
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if slices.Contains([]string{"tmp", "bin", "dist", "testdata", "screenshots"}, d.Name()) || rel != "." && strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.Contains([]string{".go", ".md", ".html", ".yml", ".yaml", ".json", ".service", ".1", ".fish", ".bash"}, filepath.Ext(rel)) {
			return nil
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		read++
		for word, name := range words {
			for _, found := range word.FindAllString(string(text), -1) {
				keep, excepted := keeps[rel]
				require.True(t, excepted && (keep == "" || keep == found), "%s says %q: say %s", rel, found, name)
			}
		}
		return nil
	}))
	require.Greater(t, read, 400)
}

// There are ring slots and replication slots (docs/glossary.md). Where both are at work, a comment says which.
func TestCommentsNameTheSlot(t *testing.T) {
	slot := regexp.MustCompile(`(\S+) slots?\b`)
	read := 0
	for _, dir := range []string{
		"checkpoint", "cmd/awa-counterd", "internal/base/pg", "internal/daemon", "internal/listener", "internal/preflight",
		"internal/provision", "internal/resume", "internal/status", "replication",
	} {
		files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*.go"))
		require.NoError(t, err)
		for _, path := range files {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			require.NoError(t, err)
			for _, comment := range file.Comments {
				read++
				for _, found := range slot.FindAllStringSubmatch(strings.Join(strings.Fields(comment.Text()), " "), -1) {
					require.Contains(t, []string{"replication", "ring", "failover"}, found[1], "%s: %q: which kind of slot?", path, found[0])
				}
			}
		}
	}
	require.Greater(t, read, 1000)
}
