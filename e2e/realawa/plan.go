package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// plan is a cell: what is tried, twice.
type plan struct {
	Part  string `json:"part"`
	Old   string `json:"old"`
	New   string `json:"new"`
	Leads string `json:"leads"` // old, new, or moves: the lead is taken away every few seconds
	Ring  string `json:"ring"`  // turns or stands
	Seed  uint64 `json:"seed"`

	Mix   time.Duration `json:"mix"`   // at least, side by side
	Jobs  int           `json:"jobs"`  // to be produced side by side, at least
	Kills int           `json:"kills"` // of the daemon
	Rows  int64         `json:"rows"`  // uncounted ones to be written, at least
	Limit time.Duration `json:"limit"` // side by side, at most
	Every time.Duration `json:"every"` // between two kills, about
	Rates rates         `json:"rates"`
	Audit time.Duration `json:"audit,omitempty"` // between two audits of the daemon's; 0: as it does by itself
	Pace  float64       `json:"pace,omitempty"`  // how many times less often than elsewhere the workers do anything; 0 for once
}

// rates are jobs a second.
type rates struct {
	Leader, Old, New float64
}

// These are the published releases that the table is made of.
var (
	oldReleases = []string{"0.6.0a9", "0.6.0b1"}
	newReleases = []string{"0.6.0b2", "0.6.0", "0.6.5", "0.6.9"}
)

// pairedRuns, of each kind of ring, go on side by side for long: a median of the four errors of half a minute is too coarse.
const (
	pairedRuns = 3
	pairedMix  = 300 * time.Second
)

const (
	turns  = "turns"
	stands = "stands"
	moves  = "moves"
)

func (p *plan) name() string {
	return strings.Join([]string{p.Part, p.Old, p.New, p.Leads, p.Ring, fmt.Sprint(p.Seed)}, "-")
}

// laps reports that the ring is to turn twice after finish, and is waited for.
func (p *plan) laps() bool { return p.Part == "pairs" && p.Ring == turns }

// led reports whether a share of the time with an old leader is what the cell is of.
func (p *plan) led(byOld float64) bool {
	const some = 0.1 // the worker that takes the lead over needs a moment
	switch p.Leads {
	case "old":
		return byOld >= 1-some
	case "new":
		return byOld <= some
	}
	return byOld >= some && byOld <= 1-some
}

// turned reports whether the ring did beside old workers what the cell is of.
func (p *plan) turned(laps float64) bool {
	return p.Part != "pairs" || (laps >= 1) == (p.Ring == turns)
}

// impossible reports that awa itself is known not to migrate from the one release to the other, for this reason.
func (p *plan) impossible(reason string) bool {
	return p.Old == "0.6.0a9" && p.New == "0.6.0b2" && strings.Contains(reason, "cannot change return type of existing function")
}

// awaited reports that the ring need not be waited for beside old workers: it has turned, is to stand, or is of 0.6.0a9, whose errors may
// hold it for good.
func (p *plan) awaited(laps float64) bool {
	return p.Ring == stands || p.turned(laps) || p.Old == "0.6.0a9"
}

// prunePatience is for how long a prune of the new release waits for a lock.
func (p *plan) prunePatience() time.Duration {
	if p.New == "0.6.0b2" {
		return 50 * time.Millisecond
	}
	return 10 * time.Millisecond
}

// logsStatements reports whether the server is to log the daemon's statements, by which prunes that failed behind one are found that no
// look saw. It costs processor time, in one half only: errors would not compare.
func (p *plan) logsStatements() bool { return p.Part != "errors" }

// withFirst reports that the half with the daemon comes first, as in every other paired run: a machine is not as fast all the time.
func (p *plan) withFirst() bool { return p.Part == "errors" && p.Seed%2 == 0 }

// replay is the command that does it again.
func (p *plan) replay() string {
	return fmt.Sprintf("go run ./e2e/realawa -part %s -old %s -new %s -leads %s -ring %s -seed %d -again", p.Part, p.Old, p.New, p.Leads, p.Ring, p.Seed)
}

// selection is what the flags leave of everything.
type selection struct {
	part                   string
	old, new, leads, rings []string
	seed                   uint64
}

// basic is a cell of the table: half a minute side by side.
func basic(part, old, release, leads, ring string, seed uint64) plan {
	p := plan{
		Part: part, Old: old, New: release, Leads: leads, Ring: ring, Seed: seed,
		Mix: 25 * time.Second, Kills: 10, Rows: 2000, Limit: 8 * time.Minute, Every: 1600 * time.Millisecond,
		Rates: rates{Leader: 20, Old: 110, New: 50},
	}
	if ring == turns {
		p.Rates = rates{Leader: 10, Old: 95, New: 35}
	}
	return p
}

// plans lists the cells of a part.
func (s selection) plans() ([]plan, error) {
	switch s.part {
	case "pairs":
		return s.pairs(), nil
	case "short":
		return []plan{basic("short", "0.6.0b1", "0.6.9", "new", turns, s.seed)}, nil
	case "errors":
		var all []plan
		for _, ring := range []string{turns, stands} {
			if !chosen(s.rings, ring) {
				continue
			}
			for i := range uint64(pairedRuns) {
				p := basic("errors", "0.6.0b1", "0.6.9", "old", ring, s.seed+i)
				p.Mix, p.Kills = pairedMix, 0 // what a daemon costs that works; one that starts every second is in the other parts
				p.Audit = 5 * time.Second     // and that compares with scans meanwhile: by itself it would not in so short a time
				all = append(all, p)
			}
		}
		return all, nil
	case "pair20000":
		p := basic("pair20000", "0.6.0b1", "0.6.0b2", moves, turns, s.seed)
		p.Jobs, p.Kills, p.Limit = 20_000, 50, 5*time.Minute
		p.Rates = rates{Leader: 30, Old: 130, New: 80}
		return []plan{p}, nil
	case "long":
		p := basic("long", "0.6.0b1", "0.6.9", moves, turns, s.seed)
		p.Jobs, p.Kills, p.Limit, p.Every = 100_000, 100, 30*time.Minute, 6*time.Second
		p.Rates = rates{Leader: 30, Old: 130, New: 80}
		return []plan{p}, nil
	}
	return nil, fmt.Errorf("no part is called %s; there are pairs, short, pair20000, long, errors and migrate", s.part)
}

func (s selection) pairs() (all []plan) {
	for _, old := range oldReleases {
		for _, release := range newReleases {
			for _, leads := range []string{"old", "new"} {
				for _, ring := range []string{turns, stands} {
					if chosen(s.old, old) && chosen(s.new, release) && chosen(s.leads, leads) && chosen(s.rings, ring) {
						all = append(all, basic("pairs", old, release, leads, ring, s.seed))
					}
				}
			}
		}
	}
	return all
}

func chosen(from []string, what string) bool { return len(from) == 0 || slices.Contains(from, what) }
