package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/replication"
)

// prepared is a lead with all that a replication slot needs: the publications are there, and nobody else works with it.
type prepared struct {
	claimed
	stream    *replication.Stream
	system    replication.System // as the stream's connection says
	slot      string
	pubs      []replication.Publication
	published publications // as they were when the session began
}

// gather is for how long the messages of small transactions come together: corrections come no more than a tenth later for it.
func gather(flush time.Duration) time.Duration { return min(flush/10, 10*time.Millisecond) }

// openStream opens the connection on which a stream will run.
func (d *Daemon) openStream(ctx context.Context) (stream *replication.Stream, err error) {
	d.liveWhile(func() { stream, err = replication.Open(ctx, d.opts.Source.ReplicationConfig()) })
	if err != nil {
		return nil, d.opts.Source.ExplainConnect(err)
	}
	stream.Gather(gather(d.opts.FlushInterval))
	return stream, nil
}

// prepare makes the publications where they are missing, and takes the replication slot from who is dead.
func prepare(ctx context.Context, c claimed, stream *replication.Stream) (prepared, error) {
	p := prepared{claimed: c, stream: stream}
	var err error
	if p.system, err = identify(ctx, stream); err != nil {
		return p, err
	}
	p.slot, p.pubs = c.chooseNames(p.system.Database)
	c.d.adoptLayout(c.layout)
	delete(c.d.past, c.layout.Schema)
	c.d.left.slot = p.slot
	c.d.super.Alive()
	if p.published, err = p.ensurePublications(ctx); err != nil {
		return p, err
	}
	return p, p.takeSlot(ctx)
}

// publications is what the catalog says of all publications of the daemon.
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
func (p prepared) ensurePublications(ctx context.Context) (out publications, err error) {
	if p.d.opts.NoSetup {
		out, err = published(ctx, p.control, p.pubs)
		if errors.Is(err, replication.ErrNoPublication) {
			var sql []string
			for _, pub := range p.pubs {
				sql = append(sql, pub.CreateSQL())
			}
			err = pg.Refuse("have the owner of awa's tables run awa-counterd setup, or run: "+strings.Join(sql, "; "), "%s", err)
		}
		return out, err
	}
	for _, pub := range p.pubs {
		seen, made, added, err := pub.Ensure(ctx, p.control)
		if err != nil {
			return out, err
		}
		if made {
			p.log.Info("publication created", zap.String("publication", pub.Name))
		}
		if len(added) > 0 {
			if err := p.saysAdded(ctx, pub.Name, seen.OID, added); err != nil {
				return out, err
			}
		}
		out.add(seen)
	}
	return out, nil
}

// saysAdded says what was added to a publication. One that no daemon has worked with here may be somebody's, who reads that from now on.
func (p prepared) saysAdded(ctx context.Context, name string, oid uint32, tables []string) error {
	schema := string(p.layout.Schema)
	known, err := checkpoint.ReadMade(ctx, p.control, schema)
	if err != nil {
		return err
	}
	fields := []zap.Field{zap.String("publication", name), zap.Strings("tables", tables)}
	if slices.Contains(known.Publications, oid) || slices.Contains(defaultPublications(schema), name) {
		p.log.Info("awa's tables were added to a publication that lacked them", fields...)
		return nil
	}
	undo := "ALTER PUBLICATION " + pgx.Identifier{name}.Sanitize() + " DROP TABLE " + strings.Join(tables, ", ")
	p.log.Warn("awa's tables were added to a publication that no daemon has worked with here; if it is somebody else's, start the daemon with another --publication and undo it",
		append(fields, zap.String("undo", undo))...)
	return nil
}

// takeSlot makes sure that nobody else works with the replication slot, if there is one. What another daemon
// works with is refused before anything is done to it.
func (p prepared) takeSlot(ctx context.Context) error {
	taken, schema, err := checkpoint.TakeSlot(ctx, p.control, p.slot)
	if err != nil {
		return err
	}
	if !taken {
		whose := "another daemon in this database"
		if schema != "" {
			whose = "the daemon of awa's schema " + schema
		}
		return pg.Refuse("give each daemon a --slot of its own, or leave --slot out",
			"replication slot %s is that of %s: two would take it from each other for ever", p.slot, whose)
	}
	slot, err := p.usableSlot(ctx)
	if err != nil || slot == nil {
		return err
	}
	// We have the leader lock and the one of the replication slot, so a daemon that still reads it is a dead one.
	return replication.Evict(ctx, p.control, p.slot) // a temporary one goes with its session
}

// chooseNames settles replication slot and publications.
func (c claimed) chooseNames(database string) (slot string, pubs []replication.Publication) {
	schema := string(c.layout.Schema)
	if slot = c.d.opts.Slot; slot == "" {
		slot = replication.SlotName(database, schema)
	}
	name := c.d.opts.Publication
	if name == "" {
		name = replication.PublicationName(schema)
	}
	return slot, replication.Needed(name, c.layout)
}

func names(pubs []replication.Publication) (out []string) {
	for _, p := range pubs {
		out = append(out, p.Name)
	}
	return out
}

// The walsender's connection has no statement timeout; what is asked there is bounded here.

func identify(ctx context.Context, stream *replication.Stream) (replication.System, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return stream.Identify(ctx)
}
