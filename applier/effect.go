package applier

import "github.com/awa-counterd/awa-counterd/internal/base/counter"

// effects follows whether corrections do what they were written for. That a statement succeeded says nothing: a
// trigger may drop the row, or make another value of it. What our transactions did to a counter is in the stream
// before the token that answers for them, apart from what others did; so by then nothing may be left of an aim.
type effects struct {
	aims   map[counter.Group]int64 // of the write under way: what the stream has yet to show of each correction
	vain   map[counter.Group]int   // corrections in a row that had another effect
	warned bool
}

// ineffectiveLimit is how many corrections of a group in a row must have missed before somebody is told. Where a counter is awa's own
// row and may not fall below 0, one may come out smaller for no fault of anybody's.
const ineffectiveLimit = 3

func newEffects() effects {
	return effects{aims: make(map[counter.Group]int64), vain: make(map[counter.Group]int)}
}

func (e *effects) plan(chunks []Chunk) {
	clear(e.aims)
	for _, chunk := range chunks {
		for _, c := range chunk.Corrections {
			e.aims[c.Group] = c.Delta
		}
	}
}

// takeBack takes back what was not written.
func (e *effects) takeBack(off []counter.Group) {
	for _, g := range off {
		delete(e.aims, g)
	}
}

// observe takes in a transaction of awa-counterd. A counter that rises by n lowers the drift by n.
func (e *effects) observe(changes []change) {
	for _, ch := range changes {
		if _, aimed := e.aims[ch.Group]; aimed {
			e.aims[ch.Group] += ch.after - ch.before
		}
	}
}

// judge is called when everything is back. It reports whether every correction had its effect, and names a group that
// has been corrected in vain over and over, the first time that there is one.
func (e *effects) judge(settled func(slot int32) bool) (all bool, tell *counter.Group) {
	all = true
	for g := range e.vain { // right by now, or put off
		if _, aimed := e.aims[g]; !aimed {
			delete(e.vain, g)
		}
	}
	for g, left := range e.aims {
		if left == 0 || !settled(g.Slot) { // the books of a slot that is scanned again say nothing
			delete(e.vain, g)
			continue
		}
		all = false
		e.vain[g]++
		if e.vain[g] >= ineffectiveLimit && !e.warned {
			e.warned, tell = true, &g
		}
	}
	clear(e.aims)
	if len(e.vain) == 0 {
		e.warned = false
	}
	return all, tell
}
