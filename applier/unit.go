package applier

import (
	"iter"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// unit is the books of one leaf's slot, or of NoLeaf.
type unit struct {
	main   *unitView      // nil until filled
	gone   *counter.Table // while main is nil: what a checkpoint has, or may have, of the unit
	shadow *unitView      // while an audit is under way
	listed []counter.ID   // in main: those that are wrong, and some that no longer are
	from   int            // where in that the next flush begins
	wrong  int            // how many are wrong
	off    int64          // by how much, all of them
	dirty  []counter.ID   // changed since the last checkpoint; each once
}

// settled reports whether the unit is filled and its fence passed: what it says can be acted on.
func (u *unit) settled() bool { return u.main != nil && !u.main.open }

// groups are what the unit knows of.
func (u *unit) groups() *counter.Table {
	if u.main == nil {
		return u.gone
	}
	return u.main.groups
}

// updateDrift notes that an entry has changed, and files it under what it is now. before is the drift that it was filed under.
func (u *unit) updateDrift(id counter.ID, before int64) {
	e := u.groups().At(id)
	if !e.Dirty {
		e.Dirty = true
		u.dirty = append(u.dirty, id)
	}
	u.indexDrift(id, e, before)
}

// indexDrift puts an entry to those that are wrong, or takes it away. Count and sum are kept beside them, since whoever looks on must
// not have a million of them walked.
func (u *unit) indexDrift(id counter.ID, e *counter.Entry, before int64) {
	now := e.Drift()
	u.off += abs(now) - abs(before)
	if before != 0 {
		u.wrong--
	}
	if now != 0 {
		u.wrong++
		if !e.Listed {
			e.Listed = true
			u.listed = append(u.listed, id)
		}
	}
	if len(u.listed) > 2*u.wrong+fewListed {
		u.unlist()
	}
}

// fewListed is up to how many groups stay listed that are right by now.
const fewListed = 64

// unlist forgets those that are right by now.
func (u *unit) unlist() {
	kept := make([]counter.ID, 0, u.wrong)
	for _, id := range u.listed {
		if e := u.main.groups.At(id); e.Drift() != 0 {
			kept = append(kept, id)
		} else {
			e.Listed = false
		}
	}
	u.listed, u.from = kept, 0
}

// drifting yields the groups that are wrong, beginning where the last flush has come to.
func (u *unit) drifting() iter.Seq[counter.ID] {
	return func(yield func(counter.ID) bool) {
		begin := u.from
		for i := range u.listed {
			at := (begin + i) % len(u.listed)
			if id := u.listed[at]; u.main.groups.At(id).Drift() != 0 {
				if u.from = at; !yield(id) {
					return
				}
			}
		}
	}
}

// storedIn gives a table an entry, be it an empty one, for each group that a checkpoint may have.
func (u *unit) storedIn(t *counter.Table) {
	old := u.groups()
	for id := range old.All() {
		t.PutLike(old, id)
	}
}
