package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fixture is a lab with a binary that is none, and a part that only counts how many rounds it ran.
func fixture(t *testing.T) (*lab, part, *[]int) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "daemon")
	require.NoError(t, os.WriteFile(binary, []byte("one"), 0o600))
	var rounds []int
	p := part{
		name: "drain", rounds: 3,
		begin: func(context.Context, *bed) (round, error) {
			return func(_ context.Context, n int, p *roundResult) error {
				rounds = append(rounds, n)
				p.note("", theDaemon, "n", float64(n))
				return nil
			}, nil
		},
	}
	return &lab{daemon: binary, results: t.TempDir(), scale: 1, server: "15"}, p, &rounds
}

// A run that was broken off goes on with the round that is missing.
func TestRoundsGoOn(t *testing.T) {
	l, p, rounds := fixture(t)
	require.NoError(t, orders{rounds: 2}.measure(t.Context(), l, p))
	require.NoError(t, orders{rounds: -1}.measure(t.Context(), l, p))
	require.Equal(t, []int{0, 1, 2}, *rounds)
	require.NoError(t, orders{rounds: -1}.measure(t.Context(), l, p))
	require.Len(t, *rounds, 3, "all of them are kept")
	kept, err := recall(l.results, p.name)
	require.NoError(t, err)
	require.Equal(t, []float64{0, 1, 2}, kept.values("", theDaemon, "n"))
}

// Rounds of another binary, or of another size, are not mixed with those of this one.
func TestRoundsAreNotMixed(t *testing.T) {
	l, p, rounds := fixture(t)
	require.NoError(t, orders{rounds: 2}.measure(t.Context(), l, p))
	require.NoError(t, os.WriteFile(l.daemon, []byte("another"), 0o600))
	require.NoError(t, orders{rounds: 2}.measure(t.Context(), l, p))
	require.Equal(t, []int{0, 1, 0, 1}, *rounds)
	l.scale = 0.5
	require.NoError(t, orders{rounds: 2}.measure(t.Context(), l, p))
	require.Equal(t, []int{0, 1, 0, 1, 0, 1}, *rounds)
	kept, err := recall(l.results, p.name)
	require.NoError(t, err)
	require.Len(t, kept.Rounds, 2)
}

// A part that is complete need not be measured on every machine; one that is not is begun again on another.
func TestPartsMayBeOfSeveralMachines(t *testing.T) {
	l, p, rounds := fixture(t)
	require.NoError(t, orders{rounds: -1}.measure(t.Context(), l, p))
	l.server = "16"
	require.NoError(t, orders{rounds: -1}.measure(t.Context(), l, p))
	require.Equal(t, []int{0, 1, 2}, *rounds)
	kept, err := recall(l.results, p.name)
	require.NoError(t, err)
	require.Equal(t, "15", kept.Origin.Server, "it says where it was measured")
	require.NoError(t, orders{rounds: 4}.measure(t.Context(), l, p))
	require.Equal(t, []int{0, 1, 2, 0, 1, 2, 3}, *rounds, "they are not mixed")
}

// A small run writes no file of docs, whatever it was told.
func TestSmallRunsWriteNoPages(t *testing.T) {
	l, p, _ := fixture(t)
	p.page, p.print = "page.md", func(*taken) string { return "" }
	dir := t.TempDir()
	o := orders{rounds: 1, report: filepath.Join(dir, "report.md"), pages: dir}
	l.scale = 0.5
	require.NoError(t, o.measure(t.Context(), l, p))
	require.NoError(t, o.write(l, []part{p}))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
	l.scale = 1
	require.NoError(t, o.write(l, []part{p}))
	require.NoFileExists(t, filepath.Join(dir, p.page), "what is kept is of another size")
	require.NoError(t, o.measure(t.Context(), l, p))
	require.NoError(t, o.write(l, []part{p}))
	require.FileExists(t, filepath.Join(dir, p.page))
	require.FileExists(t, o.report)
}

// The report has the aims and the names of what was not measured, and no figures of it.
func TestReportWithoutFigures(t *testing.T) {
	l, _, _ := fixture(t)
	text, pictures, err := whole(l, parts())
	require.NoError(t, err)
	require.Empty(t, pictures)
	for _, p := range parts() {
		require.Contains(t, text, "`"+p.name+"`")
	}
	require.Equal(t, 2, strings.Count(text, "\n## "), text)
	require.Equal(t, len(aims()), strings.Count(text, "not measured yet |"), text)
}

// Every part can be shown with nothing but holes in it.
func TestEveryPartCanBeShown(t *testing.T) {
	for _, p := range parts() {
		s := &section{pictures: make(map[string]string)}
		tk := &taken{Part: p.name, Rounds: []roundResult{{}}, Origin: origin{Scale: 1}}
		require.NotPanics(t, func() { p.show(s, tk) }, p.name)
		require.NotEmpty(t, p.title)
		if p.page != "" {
			require.NotPanics(t, func() { p.print(tk) }, p.name)
		}
		require.Equal(t, len(p.from) == 0, p.about > 0, p.name)
		for _, from := range p.sources() {
			require.NotNil(t, named(from).begin, p.name)
		}
	}
}

func TestInMinutes(t *testing.T) {
	require.Equal(t, "59 min", inMinutes(59*time.Minute+20*time.Second))
	require.Equal(t, "3 h 5 min", inMinutes(185*time.Minute))
	measuring, profiling := planned([]part{{rounds: 3, about: 12 * time.Minute}, {rounds: 5, about: 10 * time.Minute, still: true}, {from: []string{"x"}}})
	require.Equal(t, 22*time.Minute, measuring)
	require.Equal(t, 4*time.Minute, profiling)
}
