package daemon

import (
	"context"
	"errors"
	"strings"

	"go.uber.org/zap"

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
			s.log.Info("publication created", zap.String("publication", p.Name))
		}
		out.add(seen)
	}
	return out, nil
}
