package decoder

import "github.com/awa-counterd/awa-counterd/internal/base/counter"

// sums adds numbers up by group. The zero value is ready.
type sums struct {
	list []Change
	at   map[counter.Group]int
	last int // index+1 into list of the group that changed last
}

func (s *sums) reset() {
	s.list, s.at, s.last = truncateOrDrop(s.list), clearOrDrop(s.at), 0
}

// key is a group as it stands in a message: the queue name still points into the buffer.
type key struct {
	queue           []byte
	slot            int32
	priority, shard int16
}

func (k key) equals(g *counter.Group) bool {
	return g.Slot == k.slot && g.Priority == k.priority && g.Shard == k.shard && g.Queue == string(k.queue)
}

// add finds the group without allocating: most rows of a transaction fall into the group of the row
// before, and a map look-up by converted bytes does not copy them.
func (s *sums) add(k key, n int64, names *names) {
	if s.last > 0 {
		if c := &s.list[s.last-1]; k.equals(&c.Group) {
			c.N += n
			return
		}
	}
	i, ok := s.at[counter.Group{Queue: string(k.queue), Slot: k.slot, Priority: k.priority, Shard: k.shard}]
	if !ok {
		i = s.append(names.group(k))
	}
	s.list[i].N += n
	s.last = i + 1
}

func (s *sums) addGroup(g counter.Group, n int64) {
	i, ok := s.at[g]
	if !ok {
		i = s.append(g)
	}
	s.list[i].N += n
}

func (s *sums) append(g counter.Group) int {
	if s.at == nil {
		s.at = make(map[counter.Group]int)
	}
	i := len(s.list)
	s.list = append(s.list, Change{Group: g})
	s.at[g] = i
	return i
}

// drain sets the sums of a slot to 0 and returns what they were.
func (s *sums) drain(slot int32) (out []Change) {
	for i := range s.list {
		if c := &s.list[i]; c.Slot == slot && c.N != 0 {
			out = append(out, *c)
			c.N = 0
		}
	}
	return out
}

// nonzero copies what is left, at its exact size.
func (s *sums) nonzero(from *slab[Change]) []Change {
	n := 0
	for i := range s.list {
		if s.list[i].N != 0 {
			n++
		}
	}
	out := from.take(n)[:0]
	if n == 0 {
		return nil
	}
	for i := range s.list {
		if s.list[i].N != 0 {
			out = append(out, s.list[i])
		}
	}
	return out
}

// names keeps one copy of each queue name, so that the same name is not allocated for every
// transaction. It forgets everything when it grows past a bound: names come and go, and an LRU cache would pay for its order at
// every row.
type names struct {
	seen map[string]string
}

const maxNames = 1 << 14

func (n *names) name(b []byte) string {
	if s, ok := n.seen[string(b)]; ok {
		return s
	}
	if n.seen == nil || len(n.seen) >= maxNames {
		n.seen = make(map[string]string)
	}
	s := string(b)
	n.seen[s] = s
	return s
}

func (n *names) group(k key) counter.Group {
	return counter.Group{Queue: n.name(k.queue), Slot: k.slot, Priority: k.priority, Shard: k.shard}
}
