package sim

import (
	"context"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// ghost is what a session had sent when it died and the server has not carried out when another one takes the lead: a packet
// may be late, and a server process that was stopped goes on.
type ghost struct {
	instance string
	write    *writeFlight
	marker   *markerFlight
}

// haunt has the next statement of its flush arrive.
func (s *small) haunt() {
	s.ghost.write = s.written(s.ghost.write, s.ghost.instance)
	if f := s.ghost.write; f != nil && f.done {
		s.ghost.write = nil
	}
}

func (s *small) hauntMarker() {
	cmd := s.ghost.marker.cmd
	s.ghost.marker = nil
	_ = s.marked(cmd, s.ghost.instance)
}

// marked has the server carry out a command for the marker. Who sets it vouches: whenever that comes about, and whoever lives
// then, no drift that readers see is older than the bound; and half a bound after its sender died nothing comes about.
func (s *small) marked(cmd applier.SetMarker, instance string) error {
	was := s.mark
	err := s.writerOf(instance).SetMarker(context.Background(), cmd)
	if was || !s.mark {
		return err
	}
	for g, d := range s.drifts {
		require.LessOrEqual(s.t, s.now.Sub(s.driftAt[g]), bound, s.at("the marker is set, and %s is off by %d for longer than the bound", g, d))
	}
	if s.plan.late && (s.core == nil || instance != s.leader) {
		require.Less(s.t, s.now.Sub(s.died), bound/2, s.at("the marker is set by a daemon that is long dead"))
	}
	return err
}

// inItsOwnName: where no hand sets the marker, it stands under a session only after that session's own audit.
func inItsOwnName(s *small) {
	if !s.mark || s.phase == down {
		return
	}
	require.NotNil(s.t, s.core, s.at("the marker is set, and nobody has looked at anything"))
	s.checkMaySet()
}

// vouching has a daemon look at everything. Its command to set the marker is on its way.
func vouching(s *small) {
	s.read()
	for range 1000 {
		if s.flight.marker != nil && s.flight.marker.cmd.Set {
			return
		}
		all := s.choices()
		i := slices.IndexFunc(all, func(c choice) bool { return c.certain() && c.what != byActor })
		if i >= 0 {
			s.step(all[i])
			continue
		}
		s.now = s.now.Add(quantum)
		s.act()
	}
	require.Fail(s.t, s.at("the marker is never to be set"))
}

// lateWorlds are those in which what a dead session had sent still comes to the server, under another one as well.
func lateWorlds() []*plan {
	a := groupA()
	quick := string([]byte{byStream, byWrite, hearsWrite, hearsMarker, byScan, hearsScan})
	return []*plan{
		{
			name: "a marker that comes late", shape: formNamed("ledger"), leaves: []int32{0}, groups: []counter.Group{a}, prepare: vouching,
			actors: []actor{plain("the uncounted writer", bare(a, 2))},
			budget: budget{ticks: 5, crashes: 1}, swift: quick, late: true, always: inItsOwnName,
		},
		{
			name: "a flush that comes late", shape: formNamed("ledger"), leaves: []int32{0}, groups: []counter.Group{a}, prepare: trusted,
			actors: []actor{plain("the uncounted writer", bare(a, 2))},
			budget: budget{ticks: 1, crashes: 1}, late: true, always: inItsOwnName, rest: countersAreNotBlamed,
		},
	}
}
