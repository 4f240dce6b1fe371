package applier

import (
	"slices"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// lockedGroups are the groups whose counter row was found locked. Each is written alone; but somebody may hold
// a great many rows for long, and what is free must not wait for that. So a write tries each of them for a
// moment, as long as it has not lost much time in all, and has patience with a few, others every time.
type lockedGroups struct {
	groups map[counter.Group]struct{}
	next   counter.Group // from here on they have their turn
	after  counter.Group // of the write under way: the last that it has patience with
}

// contains reports a group whose counter row was found locked.
func (l *lockedGroups) contains(g counter.Group) bool {
	_, is := l.groups[g]
	return is
}

// orderByPatience puts those that are written alone behind the others, and those with which there is patience last.
func (l *lockedGroups) orderByPatience(chunks []Chunk) []Chunk {
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

// record takes in what became of a write's corrections.
func (l *lockedGroups) record(deferred, passed []counter.Group) {
	l.groups = nil
	if len(deferred) > 0 {
		l.groups = make(map[counter.Group]struct{}, len(deferred))
		for _, g := range deferred {
			l.groups[g] = struct{}{}
		}
	}
	switch {
	case len(passed) > 0:
		l.next = passed[0]
	case len(deferred) > 0:
		l.next = l.nextWithPatience(deferred)
	}
}

// nextWithPatience is the first group behind those that have had patience.
func (l *lockedGroups) nextWithPatience(deferred []counter.Group) counter.Group {
	order := slices.SortedFunc(slices.Values(deferred), counter.Group.Compare)
	i, found := slices.BinarySearchFunc(order, l.after, counter.Group.Compare)
	if found {
		i++
	}
	return order[i%len(order)]
}
