package counter

// Names numbers the queues' names for tables that share it, so that what a table keeps of a group has no pointer in it: of a million
// groups the garbage collector has nothing to look at.
type Names struct {
	at    map[string]uint32
	names []string // by number
	free  []uint32 // numbers that stand for nothing
	kept  int      // names after the last sweep
	last  string   // the one asked for last: transactions mostly are of one queue
	lastN uint32
}

// NewNames makes one without a name.
func NewNames() *Names { return &Names{at: make(map[string]uint32)} }

// find is the number of a name, if it has one.
func (n *Names) find(name string) (uint32, bool) {
	if name == n.last && int(n.lastN) < len(n.names) {
		return n.lastN, true
	}
	number, ok := n.at[name]
	if ok {
		n.last, n.lastN = n.names[number], number
	}
	return number, ok
}

// number finds the number of a name, or gives it one.
func (n *Names) number(name string) uint32 {
	number, ok := n.find(name)
	if ok {
		return number
	}
	if last := len(n.free) - 1; last >= 0 {
		number, n.free = n.free[last], n.free[:last]
		n.names[number] = name
	} else {
		number = uint32(len(n.names)) //nolint:gosec // far fewer
		n.names = append(n.names, name)
	}
	n.at[name] = number
	n.last, n.lastN = name, number
	return number
}

// numberOf is number of a name that is somebody else's memory.
func (n *Names) numberOf(name []byte) uint32 {
	if string(name) == n.last && int(n.lastN) < len(n.names) {
		return n.lastN
	}
	if number, ok := n.at[string(name)]; ok {
		n.last, n.lastN = n.names[number], number
		return number
	}
	return n.number(string(name))
}

// Len is how many names have a number.
func (n *Names) Len() int { return len(n.at) }

// leastSwept is up to how many names more nobody looks for those that are not used.
const leastSwept = 1024

// Crowded reports that there may be as many names without a group as with one: queues come and go.
func (n *Names) Crowded() bool { return len(n.at) > 2*n.kept+leastSwept }

// Sweep takes the numbers of all names that none of the tables uses. They must be all that share the names.
func (n *Names) Sweep(tables ...*Table) {
	used := make([]bool, len(n.names))
	for _, t := range tables {
		for id := range t.All() {
			used[t.At(id).queue] = true
		}
	}
	at := make(map[string]uint32) // a map keeps what it once took
	for number, name := range n.names {
		switch old, ok := n.at[name]; {
		case !ok || old != uint32(number):
		case used[number]:
			at[name] = old
		default:
			n.names[number] = ""
			n.free = append(n.free, old)
		}
	}
	n.at, n.kept, n.last, n.lastN = at, len(at), "", uint32(len(n.names)) //nolint:gosec // as above
}
