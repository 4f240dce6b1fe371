package sim

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"time"
	"unsafe"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
)

// canon writes a state down so that two states which can be told apart by nothing that is still to come are the same bytes.
// Everything that is reached is written as it is, by reflection, unless a rule (canon_rules_test.go) says why not: what is
// forgotten here makes states differ, never coincide. Of positions, transaction ids and sequence numbers the protocol asks only
// which is the greater, so they are written by rank. Times are written by how long ago they are; those that are further back
// than any bound of the protocol (long) by their order among themselves.
type canon struct {
	*script

	buf  []byte
	now  time.Time
	lsns []int // where in buf the eight bytes of a position stand
	xids []int
	seqs []int
	ages []int
	seen []pgsnap.Snapshot // each stands for the live transactions that it sees
	me   string            // the instance that leads
}

// long is how far back a time is only told from others that far back.
const long = 8 * quantum

// script knows how values of each type are written. It is made once and used for every state.
type script struct {
	types map[reflect.Type]writing
	rules map[string]rule
	used  map[string]bool
}

type writing func(p unsafe.Pointer, c *canon)

func newScript() *script {
	s := &script{rules: rules(), used: make(map[string]bool), types: map[reflect.Type]writing{
		reflect.TypeFor[time.Time]():       func(p unsafe.Pointer, c *canon) { c.time(*(*time.Time)(p)) },
		reflect.TypeFor[pglogrepl.LSN]():   func(p unsafe.Pointer, c *canon) { c.lsn(*(*pglogrepl.LSN)(p)) },
		reflect.TypeFor[pgsnap.Snapshot](): func(p unsafe.Pointer, c *canon) { c.seen = append(c.seen, *(*pgsnap.Snapshot)(p)) },
		reflect.TypeFor[decoder.Token]():   func(p unsafe.Pointer, c *canon) { c.token(*(*decoder.Token)(p)) },
		reflect.TypeFor[counter.Packed](): func(p unsafe.Pointer, c *canon) {
			held := slices.SortedFunc((*counter.Packed)(p).All(), func(a, b counter.GroupCell) int { return a.Compare(b.Group) })
			write(c, &held)
		},
		reflect.TypeFor[counter.Table](): func(p unsafe.Pointer, c *canon) { c.table((*counter.Table)(p)) },
		// These could be left to reflection, which takes longer over them.
		reflect.TypeFor[counter.Group]():           func(p unsafe.Pointer, c *canon) { c.group(*(*counter.Group)(p)) },
		reflect.TypeFor[map[key]int64]():           numbers(key.compare, func(c *canon, k key) { c.key(k) }),
		reflect.TypeFor[map[delta]int64]():         numbers(delta.compare, func(c *canon, d delta) { c.key(d.key); c.int(d.generation) }),
		reflect.TypeFor[map[counter.Group]int64](): numbers(counter.Group.Compare, (*canon).group),
		reflect.TypeFor[map[int32]int64]():         numbers(cmp.Compare[int32], func(c *canon, n int32) { c.int(int64(n)) }),
	}}
	return s
}

func (s *script) begin(now time.Time, leader string) *canon {
	return &canon{script: s, buf: make([]byte, 0, 2048), now: now, me: leader}
}

// write writes what v points to.
func write[T any](c *canon, v *T) { c.of(reflect.TypeFor[T]())(unsafe.Pointer(v), c) }

func (c *canon) int(n int64) { c.buf = binary.AppendVarint(c.buf, n) }

func (c *canon) yes(is bool) {
	if is {
		c.buf = append(c.buf, 1)
	} else {
		c.buf = append(c.buf, 0)
	}
}

func (c *canon) string(s string) {
	c.int(int64(len(s)))
	c.buf = append(c.buf, s...)
}

func (c *canon) group(g counter.Group) {
	c.string(g.Queue)
	c.int(int64(g.Slot))
	c.int(int64(g.Priority))
	c.int(int64(g.Shard))
}

func (c *canon) key(k key) {
	c.group(k.Group)
	c.int(int64(k.bucket))
}

// table writes groups by what they are: where a table has them says nothing.
func (c *canon) table(t *counter.Table) {
	type held struct {
		group counter.Group
		cell  counter.Cell
		dirty bool
	}
	all := make([]held, 0, t.Len())
	for id := range t.All() {
		all = append(all, held{t.Group(t.At(id)), t.Cell(id), t.At(id).Dirty})
	}
	slices.SortFunc(all, func(a, b held) int { return a.group.Compare(b.group) })
	write(c, &all)
}

// numbers writes a map of numbers in the order of its keys.
func numbers[K comparable](compare func(a, b K) int, name func(*canon, K)) writing {
	return func(p unsafe.Pointer, c *canon) {
		m := *(*map[K]int64)(p)
		c.int(int64(len(m)))
		if len(m) == 0 {
			return
		}
		for _, k := range ordered(m, compare) {
			name(c, k)
			c.int(m[k])
		}
	}
}

func (c *canon) raw(at *[]int, n uint64) {
	*at = append(*at, len(c.buf))
	c.buf = binary.BigEndian.AppendUint64(c.buf, n)
}

func (c *canon) lsn(n pglogrepl.LSN) { c.raw(&c.lsns, uint64(n)) }
func (c *canon) xid(n uint64)        { c.raw(&c.xids, n) }
func (c *canon) seq(n uint64)        { c.raw(&c.seqs, n) }

func (c *canon) time(t time.Time) {
	c.yes(t.IsZero())
	if !t.IsZero() {
		c.raw(&c.ages, sortable(max(t.Sub(c.now), -1<<60)))
	}
}

// sortable keeps the order of signed numbers.
func sortable(d time.Duration) uint64 { return uint64(d) ^ 1<<63 }

func (c *canon) token(t decoder.Token) {
	instance, seq, _ := applier.ParseToken(t.Content)
	c.yes(instance == c.me)
	if instance == c.me {
		c.seq(seq)
	}
}

// sum ends the writing. Ranks of what is there replace the numbers.
func (c *canon) sum() [16]byte {
	live := c.rank(c.xids)
	for _, s := range c.seen {
		c.yes(s.IsZero())
		for _, xid := range live {
			c.yes(s.Sees(xid))
		}
	}
	c.rank(c.lsns)
	c.rank(c.seqs)
	var old []int
	for _, at := range c.ages {
		if binary.BigEndian.Uint64(c.buf[at:]) < sortable(-long) {
			old = append(old, at)
		}
	}
	c.rank(old)
	h := sha256.Sum256(c.buf)
	return [16]byte(h[:])
}

// rank replaces numbers by their rank, and returns them in order. 0 stays 0: it says that there is none.
func (c *canon) rank(at []int) []uint64 {
	if len(at) == 0 {
		return nil
	}
	all := make([]uint64, 1, 1+len(at))
	for _, i := range at {
		all = append(all, binary.BigEndian.Uint64(c.buf[i:]))
	}
	slices.Sort(all)
	all = slices.Compact(all)
	for _, i := range at {
		r, _ := slices.BinarySearch(all, binary.BigEndian.Uint64(c.buf[i:]))
		binary.BigEndian.PutUint64(c.buf[i:], uint64(r))
	}
	return all[1:]
}

func (s *script) of(t reflect.Type) writing {
	w, known := s.types[t]
	if !known {
		w = s.make(t)
		s.types[t] = w
	}
	return w
}

func (s *script) make(t reflect.Type) writing {
	switch t.Kind() {
	case reflect.Bool:
		return func(p unsafe.Pointer, c *canon) { c.yes(*(*bool)(p)) }
	case reflect.String:
		return func(p unsafe.Pointer, c *canon) { c.string(*(*string)(p)) }
	case reflect.Int, reflect.Int64:
		return func(p unsafe.Pointer, c *canon) { c.int(*(*int64)(p)) }
	case reflect.Int32:
		return func(p unsafe.Pointer, c *canon) { c.int(int64(*(*int32)(p))) }
	case reflect.Int16:
		return func(p unsafe.Pointer, c *canon) { c.int(int64(*(*int16)(p))) }
	case reflect.Uint64:
		return func(p unsafe.Pointer, c *canon) { c.int(*(*int64)(p)) }
	case reflect.Struct:
		return s.fields(t)
	case reflect.Pointer:
		return s.pointer(t)
	case reflect.Slice:
		return s.slice(t)
	case reflect.Map:
		return s.mapped(t)
	default:
		panic("cannot write a " + t.String())
	}
}

func (s *script) fields(t reflect.Type) writing {
	var parts []writing
	for f := range t.Fields() {
		name := t.String() + "." + f.Name
		r := s.rules[name]
		s.used[name] = true
		if r.skip {
			continue
		}
		w := r.as
		switch {
		case r.set:
			w = s.set(f.Type)
		case w == nil:
			w = s.of(f.Type)
		}
		offset := f.Offset
		if r.while == "" {
			parts = append(parts, func(p unsafe.Pointer, c *canon) { w(unsafe.Add(p, offset), c) })
			continue
		}
		sibling, ok := t.FieldByName(r.while)
		if !ok {
			panic(t.String() + " has no " + r.while)
		}
		parts = append(parts, func(p unsafe.Pointer, c *canon) {
			is := !reflect.NewAt(sibling.Type, unsafe.Add(p, sibling.Offset)).Elem().IsZero()
			if c.yes(is); is {
				w(unsafe.Add(p, offset), c)
			}
		})
	}
	return func(p unsafe.Pointer, c *canon) {
		for _, part := range parts {
			part(p, c)
		}
	}
}

func (s *script) pointer(t reflect.Type) writing {
	elem := s.of(t.Elem())
	return func(p unsafe.Pointer, c *canon) {
		at := *(*unsafe.Pointer)(p)
		if c.yes(at != nil); at != nil {
			elem(at, c)
		}
	}
}

func (s *script) slice(t reflect.Type) writing {
	elem, size := s.of(t.Elem()), t.Elem().Size()
	return func(p unsafe.Pointer, c *canon) {
		v := reflect.NewAt(t, p).Elem()
		c.int(int64(v.Len()))
		for i := range v.Len() {
			elem(unsafe.Add(v.UnsafePointer(), uintptr(i)*size), c)
		}
	}
}

// mapped writes a map in the order of its keys as they are written.
func (s *script) mapped(t reflect.Type) writing {
	key, elem := s.of(t.Key()), s.of(t.Elem())
	type item struct {
		name []byte
		k, v reflect.Value
	}
	return func(p unsafe.Pointer, c *canon) {
		m := reflect.NewAt(t, p).Elem()
		c.int(int64(m.Len()))
		if m.Len() == 0 {
			return
		}
		items := make([]item, 0, m.Len())
		for at := m.MapRange(); at.Next(); {
			k, v := reflect.New(t.Key()), reflect.New(t.Elem())
			k.Elem().SetIterKey(at)
			v.Elem().SetIterValue(at)
			i := item{k: k, v: v}
			if m.Len() > 1 {
				aside := canon{script: c.script, now: c.now, me: c.me}
				key(k.UnsafePointer(), &aside)
				i.name = aside.buf
			}
			items = append(items, i)
		}
		slices.SortFunc(items, func(a, b item) int { return bytes.Compare(a.name, b.name) })
		for _, i := range items {
			key(i.k.UnsafePointer(), c)
			elem(i.v.UnsafePointer(), c)
		}
	}
}

// set writes a slice whose order says nothing.
func (s *script) set(t reflect.Type) writing {
	elem, size := s.of(t.Elem()), t.Elem().Size()
	return func(p unsafe.Pointer, c *canon) {
		v := reflect.NewAt(t, p).Elem()
		list := make([][]byte, v.Len())
		for i := range list {
			aside := canon{script: c.script, now: c.now, me: c.me}
			elem(unsafe.Add(v.UnsafePointer(), uintptr(i)*size), &aside)
			if len(aside.lsns)+len(aside.xids)+len(aside.seqs)+len(aside.ages)+len(aside.seen) > 0 {
				panic("the elements of " + t.String() + " are told apart by more than their bytes")
			}
			list[i] = aside.buf
		}
		slices.SortFunc(list, bytes.Compare)
		c.int(int64(len(list)))
		for _, b := range list {
			c.buf = append(c.buf, b...)
		}
	}
}

func byXID(p unsafe.Pointer, c *canon) { c.xid(*(*uint64)(p)) }
func bySeq(p unsafe.Pointer, c *canon) { c.seq(*(*uint64)(p)) }

// xids writes a set of transaction ids, kept as a slice.
func xids(p unsafe.Pointer, c *canon) {
	list := slices.Sorted(slices.Values(*(*[]uint64)(p)))
	c.int(int64(len(list)))
	for _, x := range list {
		c.xid(x)
	}
}

// xidSet writes one that is kept as a map.
func xidSet(p unsafe.Pointer, c *canon) {
	m := *(*map[uint64]struct{})(p)
	c.int(int64(len(m)))
	for _, x := range ordered(m, cmp.Compare) {
		c.xid(x)
	}
}

// noOlder writes a time of which only is asked whether it is at least that old.
func noOlder(than time.Duration) writing {
	return func(p unsafe.Pointer, c *canon) {
		t := *(*time.Time)(p)
		if oldest := c.now.Add(-than); !t.IsZero() && t.Before(oldest) {
			t = oldest
		}
		c.time(t)
	}
}

// noMore writes a number of which only is asked whether it is at least that.
func noMore(than int64) writing {
	return func(p unsafe.Pointer, c *canon) { c.int(min(*(*int64)(p), than)) }
}

// failed writes of an error only whether there is one.
func failed(p unsafe.Pointer, c *canon) { c.yes(*(*error)(p) != nil) }

// late is the same for an error of which the Core asks whether it says that the command came too late.
func late(p unsafe.Pointer, c *canon) {
	failed(p, c)
	c.yes(errors.Is(*(*error)(p), applier.ErrTooLate))
}

// said writes of a text only whether there is one.
func said(p unsafe.Pointer, c *canon) { c.yes(*(*string)(p) != "") }
