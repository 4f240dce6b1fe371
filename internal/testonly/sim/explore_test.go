package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// explorer visits every state of a small world once, depth first.
type explorer struct {
	plan    *plan
	visited map[[16]byte]struct{}
	rested  map[[16]byte]struct{}
	path    []choice
	began   time.Time
	figures
}

// figures say what was visited.
type figures struct {
	states, transitions, rests, deepest int
	took                                time.Duration
	cut                                 bool // it was bounded, and left states out
}

func (f figures) String() string {
	return fmt.Sprintf("%d states, %d transitions, %d times at rest, deepest path %d, %s", f.states, f.transitions, f.rests, f.deepest, f.took.Round(10*time.Millisecond))
}

// broken is a violation on its way up. It takes the place of a *testing.T, which could not say how it came about.
type broken struct{ what string }

func (b *broken) Errorf(format string, args ...any) { b.what = fmt.Sprintf(format, args...) }
func (b *broken) FailNow()                          { panic(b) }

func (b *broken) Fatalf(format string, args ...any) {
	b.Errorf(format, args...)
	b.FailNow()
}

// finding is a way to a violation.
type finding struct {
	path []choice
	what string
}

// explore visits the whole world, or stops at the first violation.
func explore(p *plan) (f figures, found *finding) {
	x := &explorer{plan: p, visited: make(map[[16]byte]struct{}), rested: make(map[[16]byte]struct{})}
	x.began = time.Now()
	found = x.attempt()
	x.took = time.Since(x.began)
	return x.figures, found
}

func (x *explorer) attempt() (found *finding) {
	defer func() {
		if r := recover(); r != nil {
			b, ok := r.(*broken)
			if !ok {
				b = &broken{fmt.Sprint("panic: ", r)}
			}
			found = &finding{x.path, b.what}
		}
	}()
	s := newSmall(x.plan, &broken{})
	x.states, x.visited[s.sum()] = 1, struct{}{}
	x.visit(s)
	return nil
}

func (x *explorer) visit(s *small) {
	x.deepest = max(x.deepest, len(x.path))
	all := s.choices()
	idle := true
	for _, c := range all {
		idle = idle && !c.certain()
	}
	if idle {
		x.rest(s)
	}
	for _, c := range all {
		if x.cut = x.cut || x.enough(); x.cut {
			return
		}
		next := s.clone()
		x.path = append(x.path, c)
		next.step(c)
		x.transitions++
		sum := next.sum()
		if _, known := x.visited[sum]; !known {
			x.visited[sum] = struct{}{}
			x.states++
			next.keep()
			x.visit(next)
		}
		x.path = x.path[:len(x.path)-1]
	}
}

// enough reports that as much was visited as was asked for.
func (x *explorer) enough() bool {
	return (*simMost > 0 && x.transitions >= *simMost) || (*simFor > 0 && x.transitions%1000 == 0 && time.Since(x.began) > *simFor)
}

// rest: where nothing is left to happen but that time passes, the daemon comes to rest, and everything is right then. What the
// world may still spend says nothing about that.
func (x *explorer) rest(s *small) {
	r := s.clone()
	r.left = budget{}
	sum := r.sum()
	if _, known := x.rested[sum]; known {
		return
	}
	x.rested[sum] = struct{}{}
	x.rests++
	r.comeToRest()
}

// replay makes the choices one after the other and tells each. Choices that cannot be made are left out, so that a part of a
// path can be tried as well; what is left of it is returned.
func replay(p *plan, path []choice, say func(string)) (found *finding) {
	var done []choice
	defer func() {
		if r := recover(); r != nil {
			b, ok := r.(*broken)
			if !ok {
				b = &broken{fmt.Sprint("panic: ", r)}
			}
			found = &finding{done, b.what}
		}
	}()
	s := newSmall(p, &broken{})
	s.told = say
	for _, c := range path {
		if !slices.Contains(s.choices(), c) {
			continue
		}
		s.say("", c)
		done = append(done, c)
		s.step(c)
	}
	say("and from here on, until it is at rest:")
	s.comeToRest()
	return nil
}

// comeToRest lets everything happen that is not over, and the daemon have the time that it needs.
func (s *small) comeToRest() {
	s.left = budget{}
	s.settle(true)
	s.checkRest()
	require.Empty(s.t, s.waiting(), s.at("at rest, and somebody still waits"))
	if s.plan.rest != nil {
		s.plan.rest(s)
	}
}

// shorten leaves out of a path what is not needed to break the same thing.
func shorten(p *plan, f *finding) *finding {
	for again := true; again; {
		again = false
		for i := len(f.path) - 1; i >= 0; i-- {
			part := append(append([]choice(nil), f.path[:i]...), f.path[i+1:]...)
			if g := replay(p, part, func(string) {}); g != nil && len(g.path) < len(f.path) {
				f, again = g, true
				i = min(i, len(f.path))
			}
		}
	}
	return f
}

// report prints a finding so that it can be read and replayed.
func report(t *testing.T, p *plan, f *finding) {
	t.Helper()
	f = shorten(p, f)
	var lines []string
	replay(p, f.path, func(line string) { lines = append(lines, line) })
	path := make([]string, len(f.path))
	for i, c := range f.path {
		path[i] = c.String()
	}
	t.Fatalf("%s\n%s\nreplay: go test ./internal/testonly/sim -v -run 'TestWorlds/^%s$' -sim.path='%s'",
		strings.Join(lines, "\n"), f.what, strings.ReplaceAll(p.name, " ", "_"), strings.Join(path, " "))
}

func playWorld(t *testing.T, p *plan) {
	t.Helper()
	f, found := explore(p)
	if found != nil {
		report(t, p, found)
	}
	if f.cut {
		t.Errorf("%s: %s, space finished: no", p.name, f)
		return
	}
	require.Positive(t, f.rests, "nothing ever comes to rest")
	t.Logf("%s: %s, space finished: yes", p.name, f)
}
