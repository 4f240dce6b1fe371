package decoder

import (
	"errors"
	"fmt"
)

// ErrUnknownRelation says that a change came for a relation that no Relation message described.
var ErrUnknownRelation = errors.New("change for a relation that was never described")

// MessageError is a pgoutput message that could not be read: cut short, of an unknown type, or
// with a value that does not fit its column. The stream has to be started afresh.
type MessageError struct {
	Type   byte
	Reason string
}

func (e *MessageError) Error() string {
	return fmt.Sprintf("pgoutput message %q: %s", e.Type, e.Reason)
}
