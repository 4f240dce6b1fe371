package sim

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/internal/corrections"
)

// kind is what a statement of awa-counterd does.
type kind byte

const (
	announces kind = iota
	raises
	lowers
	sweeps
	setsMarker
	clearsMarker
	beats
	notes // history, of which no stream tells
)

// statement is what the server makes of a text: what it does, and the conditions that stand in it. Parameters count from 1;
// 0 is for a condition that is not there, or that is not one of awa-counterd.
type statement struct {
	kind     kind
	instance int // who has to lead
	until    int // when it is too late, by the server's clock
}

// dialect is the SQL of a daemon's Writer, and what the server reads in it. So a condition
// that is taken out of the text does not hold here either.
type dialect struct {
	corrections.Statements

	of    shape
	texts map[string]statement
}

func newDialect(s shape) *dialect {
	d := &dialect{Statements: corrections.OfLeader(s.layout(), true), of: s, texts: make(map[string]statement)}
	d.StillSet = "" // nobody has a trigger in this world
	d.Withdraw = "" // nobody holds the leader's row in this world; whoever holds the marker's would hold it up as well
	d.learn(d.Beat, beats)
	d.learn(d.BlindBeat, beats)
	d.learn(d.DeleteZeroRows, sweeps)
	d.learn(d.Subtract, lowers)
	d.learn(d.Add, raises) // Subtract is the same where no counter row is awa's own
	for _, text := range []string{d.Set.Alone, d.Set.Noted} {
		d.learn(text, setsMarker)
	}
	for _, text := range []string{d.Clear.Alone, d.Clear.Noted} {
		d.learn(text, clearsMarker)
	}
	d.learn(d.Note, notes)
	return d
}

var (
	leading = regexp.MustCompile(`exists \(select 1 from awa_counterd\.lead g\s+where g\.awa_schema = \$\d+ and g\.instance = \$(\d+) for key share of g\)`)
	beating = regexp.MustCompile(`update awa_counterd\.leader set beat = .*\s+where awa_schema = \$\d+ and instance = \$(\d+) and beat`)
	inTerm  = regexp.MustCompile(`and \(\$\d+::timestamptz is null or clock_timestamp\(\) < \$(\d+)\)`)
)

// learn reads a text.
func (d *dialect) learn(text string, k kind) statement {
	of := func(condition *regexp.Regexp) int {
		if found := condition.FindStringSubmatch(text); found != nil {
			n, _ := strconv.Atoi(found[1])
			return n
		}
		return 0
	}
	s := statement{kind: k, instance: max(of(leading), of(beating)), until: of(inTerm)}
	d.texts[text] = s
	return s
}

// read is what the server makes of a statement that it is sent.
func (d *dialect) read(q *pgx.QueuedQuery) statement {
	s, known := d.texts[q.SQL]
	switch {
	case known:
	case strings.Contains(q.SQL, "pg_logical_emit_message"): // the Writer's own, with which every transaction of awa-counterd begins
		s = d.learn(q.SQL, announces)
	default:
		s = d.learn(q.SQL, notes)
	}
	return s
}

// mayRun says that the statement's own condition lets it do something: its sender leads.
func (s server) mayRun(k statement, q *pgx.QueuedQuery) bool {
	return k.instance == 0 || q.Arguments[k.instance-1].(string) == s.leader
}

// inTime says that it does not come too late.
func (s server) inTime(k statement, q *pgx.QueuedQuery) bool {
	if k.until == 0 {
		return true
	}
	until, _ := q.Arguments[k.until-1].(*time.Time)
	return until == nil || s.now.Add(s.skew).Before(*until)
}
