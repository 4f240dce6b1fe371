package counter

import (
	"cmp"
	"fmt"
	"strings"
)

// Group is what awa keeps one terminal counter for. It is comparable, so it serves as a map key.
type Group struct {
	Queue    string // physical queue name
	Slot     int32  // ready_slot: the leaf of the ring that the rows live in
	Priority int16
	Shard    int16 // enqueue_shard
}

// Compare orders groups as awa's writers lock counter rows: slot, queue, priority, shard
// (docs/design.md §5). Queues compare bytewise, as awa's own sorted batches do.
func (g Group) Compare(o Group) int {
	if c := cmp.Compare(g.Slot, o.Slot); c != 0 {
		return c
	}
	if c := strings.Compare(g.Queue, o.Queue); c != 0 {
		return c
	}
	if c := cmp.Compare(g.Priority, o.Priority); c != 0 {
		return c
	}
	return cmp.Compare(g.Shard, o.Shard)
}

// String renders the group for logs: slot/queue/priority/shard.
func (g Group) String() string {
	return fmt.Sprintf("%d/%s/%d/%d", g.Slot, g.Queue, g.Priority, g.Shard)
}

// Interner keeps one copy of each queue name: a server sends it with every group.
type Interner map[string]string

// Intern returns the copy.
func (n Interner) Intern(name string) string {
	if s, ok := n[name]; ok {
		return s
	}
	n[name] = name
	return name
}

// InternBytes is Intern of a name that is somebody else's memory.
func (n Interner) InternBytes(name []byte) string {
	if s, ok := n[string(name)]; ok {
		return s
	}
	return n.Intern(string(name))
}
