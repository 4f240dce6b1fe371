package sim

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// walk makes random choices until none is left, or most of them.
func walk(s *small, rng *rand.Rand, most int, each func(s *small, c choice) *small) {
	for range most {
		all := s.choices()
		if len(all) == 0 {
			return
		}
		s = each(s, all[rng.IntN(len(all))])
	}
}

// A clone is the same state, and what is done to it is done to nobody else.
func TestClonesAreAlone(t *testing.T) {
	for _, p := range worlds() {
		t.Run(p.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			for range 5 {
				walk(newSmall(p, t), rng, 200, func(s *small, c choice) *small {
					next := s.clone()
					before := next.sum()
					next.step(c)
					after := next.sum()
					next.keep()
					again := s.clone()
					require.Equal(t, before, again.sum(), "%s changed the state that it was made in", c)
					again.step(c)
					require.Equal(t, after, again.sum(), "%s leads here and there", c)
					again.keep()
					return next
				})
			}
		})
	}
}

// A path leads to the same state whether it is walked through clones or without any.
func TestClonesAreFaithful(t *testing.T) {
	for _, p := range worlds() {
		t.Run(p.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 4))
			for range 5 {
				var path []choice
				var last [16]byte
				walk(newSmall(p, t), rng, 200, func(s *small, c choice) *small {
					next := s.clone()
					next.step(c)
					path, last = append(path, c), next.sum()
					next.keep()
					return next
				})
				s := newSmall(p, t)
				for _, c := range path {
					s.step(c)
				}
				require.Equal(t, last, s.sum())
			}
		})
	}
}

// Every rule is about a field that there is, so none outlives a change of the Core.
func TestCanonRules(t *testing.T) {
	p := worlds()[0]
	s := newSmall(p, t)
	for range 3 {
		s.rise()
	}
	s.sum()
	s.script.of(reflect.TypeFor[record]())
	s.script.of(reflect.TypeFor[ghost]()) // of some worlds only
	for name := range rules() {
		require.True(t, s.script.used[name], "no field %s", name)
	}
}

// States are the same whatever came first, where that is all over, and never where something is different.
func TestCanonTellsStatesApart(t *testing.T) {
	p := worldNamed(t, "two writers")
	at := func(path string) [16]byte {
		s := newSmall(p, t)
		for _, c := range parsePath(path) {
			require.Contains(t, s.choices(), c)
			s.step(c)
		}
		return s.sum()
	}
	require.Equal(t, at("a0 d a0"), at("a0 a0 d"), "visible before or after it was streamed")
	require.NotEqual(t, at("a0 a1"), at("a1 a0"), "the order of what is to be streamed")
	require.NotEqual(t, at("a0"), at("a0 a0"), "visible or not")
	require.NotEqual(t, at("a0"), at("a0 d"), "streamed or not")
	require.NotEqual(t, at("a0 a0 d"), at("t a0 a0 d"), "time")
	rest := func(path string) [16]byte {
		s := newSmall(p, t)
		for _, c := range parsePath(path) {
			s.step(c)
		}
		s.settle(true)
		return s.sum()
	}
	require.Equal(t, rest("a0 d a1 d"), rest("a1 d a0 d"), "when all is over nobody asks which came first")
}

// What breaks in one interleaving only is found, and shown by the shortest way there.
func TestExplorerFindsTheOne(t *testing.T) {
	p := worldNamed(t, "two writers")
	a, b := groupA(), groupB()
	p.always = func(s *small) { // b is visible and has been heard of, while a is in the WAL and has not
		heard := func(g counter.Group) int64 { c := s.truth.cell(g); return c.Rows }
		if s.place[0] == 1 && s.place[1] == 2 && heard(a) == 0 && heard(b) == 1 {
			require.Fail(s.t, "there it is")
		}
	}
	f, found := explore(p)
	require.NotNil(t, found, "not found in %s", f)
	found = shorten(p, found)
	require.Contains(t, found.what, "there it is")
	require.LessOrEqual(t, len(found.path), 4)
	again := replay(p, found.path, func(string) {})
	require.NotNil(t, again)
	require.Equal(t, found.path, again.path)
}

// The same world is the same space every time.
func TestExplorationIsTheSameEveryTime(t *testing.T) {
	p := worldNamed(t, "a slot that is moved")
	one, found := explore(p)
	require.Nil(t, found)
	two, found := explore(p)
	require.Nil(t, found)
	one.took, two.took = 0, 0
	require.Equal(t, one, two)
}

func worldNamed(t *testing.T, name string) *plan {
	t.Helper()
	for _, p := range worlds() {
		if p.name == name {
			return p
		}
	}
	require.Fail(t, "no such world", name)
	return nil
}
