package applier

import (
	"fmt"
	"slices"
)

// DoubtKind is a reason why the marker is not set, for programs. The texts hold figures, and are for people.
type DoubtKind string

// The kinds, in the order in which they are asked for.
const (
	DoubtNone       DoubtKind = ""
	DoubtNoMarker   DoubtKind = "no_marker"         // this awa has none
	DoubtOff        DoubtKind = "off"               // --trust off
	DoubtDryRun     DoubtKind = "dry_run"           // --dry-run
	DoubtUnlooked   DoubtKind = "tables_unseen"     // our caller's: nobody could look at awa's tables
	DoubtRetained   DoubtKind = "retained_wal"      // our caller's: the slot keeps too much
	DoubtOpen       DoubtKind = "open_transactions" // they were open when the slot was made
	DoubtScanning   DoubtKind = "scanning"
	DoubtFirstToken DoubtKind = "first_token"
	DoubtAuditing   DoubtKind = "auditing"
	DoubtLag        DoubtKind = "lag"
	DoubtDrift      DoubtKind = "drift"  // not corrected for too long
	DoubtHidden     DoubtKind = "hidden" // streamed, and not visible for too long
	DoubtTokens     DoubtKind = "slow_tokens"
	DoubtUncounted  DoubtKind = "uncounted_writes" // --trust quiet
	DoubtStopping   DoubtKind = "stopping"
)

// TrustIsOff is the text of DoubtOff, by which commands know it: no waiting ends it.
const TrustIsOff = "trust is off"

// DoubtKinds lists all but DoubtNone.
func DoubtKinds() []DoubtKind {
	return []DoubtKind{
		DoubtNoMarker, DoubtOff, DoubtDryRun, DoubtUnlooked, DoubtRetained, DoubtOpen, DoubtScanning, DoubtFirstToken, DoubtAuditing, DoubtLag, DoubtDrift, DoubtHidden,
		DoubtTokens, DoubtUncounted, DoubtStopping,
	}
}

// Doubt is why the marker must not be set; the zero Doubt is none.
type Doubt struct {
	Kind DoubtKind
	Text string
}

// SetOutsideDoubt tells the Core of a doubt that it cannot have by itself; "" takes back that of this kind, and no other.
func (c *Core) SetOutsideDoubt(kind DoubtKind, why string) {
	c.outside = slices.DeleteFunc(c.outside, func(d Doubt) bool { return d.Kind == kind })
	if why != "" {
		c.outside = append(c.outside, Doubt{kind, why})
	}
}

func doubt(kind DoubtKind, format string, args ...any) Doubt {
	return Doubt{kind, fmt.Sprintf(format, args...)}
}
