package decoder

import (
	"errors"
	"fmt"
)

// ErrUnknownRelation says that a change came for a relation that no Relation message described.
var ErrUnknownRelation = errors.New("change for a relation that was never described")

// ErrIdentity says that a table's replica identity leaves out a column that tells a row's group: what was done to its rows
// while that is so is not known.
var ErrIdentity = errors.New("the replica identity leaves out a column of the group; run ALTER TABLE … REPLICA IDENTITY DEFAULT")

// MessageError is a pgoutput message that could not be read: cut short, of an unknown type, or
// with a value that does not fit its column. The stream has to be started afresh.
type MessageError struct {
	Type   byte
	Reason string
}

func (e *MessageError) Error() string {
	return fmt.Sprintf("pgoutput message %q: %s", e.Type, e.Reason)
}
