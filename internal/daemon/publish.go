package daemon

import (
	"context"
	"errors"
	"strings"

	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/pg"
	"github.com/awa-counterd/awa-counterd/replication"
)

// publications is what the catalog says of all of ours.
type publications struct {
	OIDs  []uint32
	State string // changes with every ALTER of any
}

func (p *publications) add(seen replication.Published) {
	p.OIDs = append(p.OIDs, seen.OID)
	p.State = strings.TrimPrefix(p.State+"; "+seen.State, "; ")
}

// published looks over publications that have to be there.
func published(ctx context.Context, c replication.Conn, pubs []replication.Publication) (out publications, err error) {
	for _, p := range pubs {
		seen, err := p.Check(ctx, c)
		if err != nil {
			return out, err
		}
		out.add(seen)
	}
	return out, nil
}

// ensurePublications makes the publications, or under --no-setup only looks at them.
func (s *session) ensurePublications(ctx context.Context) (out publications, err error) {
	if s.d.opts.NoSetup {
		out, err = published(ctx, s.control, s.pubs)
		if errors.Is(err, replication.ErrNoPublication) {
			var sql []string
			for _, p := range s.pubs {
				sql = append(sql, p.CreateSQL())
			}
			err = pg.Refuse("have the owner of awa's tables run awa-counterd setup, or run: "+strings.Join(sql, "; "), "%s", err)
		}
		return out, err
	}
	for _, p := range s.pubs {
		seen, made, err := p.Ensure(ctx, s.control)
		if err != nil {
			return out, err
		}
		if made {
			s.log.Info("publication made", zap.String("publication", p.Name))
		}
		out.add(seen)
	}
	return out, nil
}

// takeSlot makes sure that nobody else works with the replication slot, and reads it; nil when there is none. What another daemon
// works with is refused before anything is done to it.
func (s *session) takeSlot(ctx context.Context, database string) (*replication.Slot, error) {
	taken, schema, err := checkpoint.TakeSlot(ctx, s.control, s.slot)
	if err != nil {
		return nil, err
	}
	if !taken {
		whose := "another daemon in this database"
		if schema != "" {
			whose = "the daemon of awa's schema " + schema
		}
		return nil, pg.Refuse("give each daemon a --slot of its own, or leave --slot out",
			"replication slot %s is that of %s: two would take it from each other for ever", s.slot, whose)
	}
	slot, err := s.usableSlot(ctx, database)
	if err != nil || slot == nil {
		return nil, err
	}
	// We have the leader lock and the slot's, so a daemon that still reads it is a dead one.
	if err := replication.Evict(ctx, s.control, s.slot); err != nil {
		return nil, err
	}
	return s.usableSlot(ctx, database) // a temporary one has gone with its session
}

// chooseNames settles slot and publications.
func (s *session) chooseNames(database string) {
	schema := string(s.layout.Schema)
	if s.slot = s.d.opts.Slot; s.slot == "" {
		s.slot = replication.SlotName(database, schema)
	}
	name := s.d.opts.Publication
	if name == "" {
		name = replication.PublicationName(schema)
	}
	s.pubs = replication.Needed(name, s.layout)
	s.d.adoptLayout(s.layout)
	delete(s.d.past, s.layout.Schema)
	s.d.left.slot = s.slot
}

func names(pubs []replication.Publication) (out []string) {
	for _, p := range pubs {
		out = append(out, p.Name)
	}
	return out
}

// The walsender's connection has no statement timeout; what is asked there is bounded here.

func (s *session) identify(ctx context.Context) (replication.System, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return s.stream.Identify(ctx)
}
