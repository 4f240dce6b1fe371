package applier

import (
	"slices"

	"github.com/awa-counterd/awa-counterd/internal/terminal"
)

// locked are the groups whose counter row was found locked. Each is written alone; but somebody may hold
// a great many rows for long, and what is free must not wait for that. So a write tries each of them for a
// moment, as long as it has not lost much time in all, and has patience with a few, others every time.
type locked struct {
	groups map[terminal.Group]struct{}
	next   terminal.Group // from here on they have their turn
	after  terminal.Group // of the write under way: the last that it has patience with
}

// alone reports a group whose counter row was found locked.
func (l *locked) alone(g terminal.Group) bool {
	_, is := l.groups[g]
	return is
}

// ration puts those that are written alone behind the others, and those with which there is patience last.
func (l *locked) ration(chunks []Chunk) []Chunk {
	var out, alone []Chunk
	for _, c := range chunks {
		if c.Alone {
			alone = append(alone, c)
		} else {
			out = append(out, c)
		}
	}
	if len(alone) == 0 {
		return out
	}
	slices.SortFunc(alone, func(a, b Chunk) int { // in key order, beginning with next
		g, h := a.Corrections[0].Group, b.Corrections[0].Group
		if early, late := g.Compare(l.next) < 0, h.Compare(l.next) < 0; early != late {
			if early {
				return 1
			}
			return -1
		}
		return g.Compare(h)
	})
	few := min(len(alone), mostPatient)
	for i := range alone {
		alone[i].Patient = i < few
	}
	l.after = alone[few-1].Corrections[0].Group
	return append(append(out, alone[few:]...), alone[:few]...)
}

// tried takes in what became of a write's corrections.
func (l *locked) tried(deferred, passed []terminal.Group) {
	l.groups = nil
	if len(deferred) > 0 {
		l.groups = make(map[terminal.Group]struct{}, len(deferred))
		for _, g := range deferred {
			l.groups[g] = struct{}{}
		}
	}
	switch {
	case len(passed) > 0:
		l.next = passed[0]
	case len(deferred) > 0:
		l.next = l.following(deferred)
	}
}

// following is the first group behind those that have had patience.
func (l *locked) following(deferred []terminal.Group) terminal.Group {
	order := slices.SortedFunc(slices.Values(deferred), terminal.Group.Compare)
	i, found := slices.BinarySearchFunc(order, l.after, terminal.Group.Compare)
	if found {
		i++
	}
	return order[i%len(order)]
}
