package main

import (
	"slices"
	"strings"
	"time"
)

// hold is a kind of errors by which jobs of awa's come to no end, so that the ring may stand for them.
type hold struct {
	Kind  string  `json:"kind"`
	Times int     `json:"times"`        // in the time in which the ring was to turn
	Ago   float64 `json:"last_seconds"` // before the end of that time, the last of them
}

// lately is how long before the end of a wait for the ring an error has to have come for it to have held the ring to the end.
const lately = 30 * time.Second

// ends are what a claim or a completion fails with again and again, so that its job does not come to an end. Locks that were not had in
// time, deadlocks and plans that are not valid any more are not among them: awa tries again, and succeeds.
var ends = []string{"duplicate key value violates unique constraint", `column "available_count" does not exist`, "there is no unique or exclusion constraint matching the ON CONFLICT"}

func (c *complaint) holds() bool {
	return c.ofWorker() && slices.ContainsFunc(ends, func(text string) bool { return strings.Contains(c.text, text) })
}

// holds lists, by kind, such errors of those whose name begins so; never nil, which means that nobody looked.
func holds(log []complaint, w window, who string) []hold {
	all := []hold{}
	for i := range log {
		c := &log[i]
		if !c.holds() || !strings.HasPrefix(c.who, who) || c.at.Before(w.began) || c.at.After(w.ended) {
			continue
		}
		at := slices.IndexFunc(all, func(h hold) bool { return h.Kind == c.kind() })
		if at < 0 {
			at, all = len(all), append(all, hold{Kind: c.kind()})
		}
		all[at].Times++
		all[at].Ago = w.ended.Sub(c.at).Seconds()
	}
	return all
}

// awaHolds reports that awa stood in its own way to the end: the same error came more than once, lately as well, and it comes without
// us. One that came once, long ago, says nothing about the ring, nor does one that comes only with us.
func awaHolds(all []hold, control *result) bool {
	return control != nil && slices.ContainsFunc(all, func(h hold) bool {
		return h.Times > 1 && h.Ago <= lately.Seconds() && control.Errors[h.Kind] > 0
	})
}
