package sim

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/corrections"
)

// flight is what the server has been asked for and the Core has not heard of.
type flight struct {
	write   *writeFlight
	marker  *markerFlight
	persist *persistFlight
	scans   []scanFlight
}

type writeFlight struct {
	cmd    applier.Write
	at     int       // chunks that are done
	sent   time.Time // the statement that is next
	done   bool      // the token is written, too
	result applier.WriteResult
}

type markerFlight struct {
	cmd  applier.SetMarker
	done bool
	err  error
}

type persistFlight struct {
	cp   applier.Checkpoint
	done bool
}

type scanFlight struct {
	unit int32
	done bool
	scan applier.Scan
	ok   bool
}

func (f flight) empty() bool {
	return f.write == nil && f.marker == nil && f.persist == nil && len(f.scans) == 0
}

func (s *small) writerOf(instance string) *corrections.Writer {
	return corrections.NewWriter(server{s.sim}, s.sql.Statements, instance)
}

// advanceWrite has the server carry out the next statement of a write. What is under way is never changed but replaced: other
// states have it, too.
func (s *small) advanceWrite() { s.flight.write = s.written(s.flight.write, s.cfg.Instance) }

// written is what becomes of a write; nil for one that nobody will hear of.
func (s *small) written(old *writeFlight, instance string) *writeFlight {
	f := *old
	if f.at < len(f.cmd.Chunks) {
		chunk := f.cmd.Chunks[f.at]
		switch err := s.writerOf(instance).Correct(context.Background(), chunk); {
		case pg.IsBusy(err):
			f.result.Deferred = slices.Clone(f.result.Deferred)
			for _, c := range chunk.Corrections {
				f.result.Deferred = append(f.result.Deferred, c.Group)
			}
		case err != nil:
			require.ErrorIs(s.t, err, corrections.ErrNotLeading)
			return nil
		default:
			f.result.Written += len(chunk.Corrections)
		}
		if f.at++; s.plan.ticking {
			s.now = s.now.Add(1)
		}
		f.sent = s.now
		return &f
	}
	r, err := s.writerOf(instance).Write(context.Background(), applier.Write{Seq: f.cmd.Seq, Holds: f.cmd.Holds}, "")
	if err != nil {
		require.ErrorIs(s.t, err, corrections.ErrNotLeading)
		return nil
	}
	r.Sent, r.Deferred, r.Written = f.sent, f.result.Deferred, f.result.Written
	f.done, f.result = true, r
	return &f
}

// hearWrite hands the Core the answer, or that there is none.
func (s *small) hearWrite(lost bool) {
	f := s.flight.write
	s.flight.write = nil
	r := f.result
	if s.awaited = f.cmd.Seq; lost {
		r = applier.WriteResult{Seq: f.cmd.Seq, Deferred: r.Deferred, Written: r.Written, Err: errors.New("no answer")}
		s.seen = 0 // the books have to see a new token first
	}
	s.core.Written(s.now, r)
}

func (s *small) advanceMarker() {
	f := *s.flight.marker
	f.done, f.err = true, s.marked(f.cmd, s.cfg.Instance)
	s.flight.marker = &f
}

func (s *small) hearMarker(lost bool) {
	err := s.flight.marker.err
	s.flight.marker = nil
	if lost {
		err = errors.New("no answer")
	}
	if err != nil {
		s.markerAt = s.now
	}
	s.core.MarkerWritten(s.now, err)
}

func (s *small) advancePersist() {
	if s.leader == s.cfg.Instance {
		s.store(s.flight.persist.cp)
	}
	f := *s.flight.persist
	f.done = true
	s.flight.persist = &f
}

func (s *small) hearPersist(lost bool) {
	s.flight.persist = nil
	var err error
	if lost {
		err = errors.New("lock timeout")
	}
	s.core.Persisted(s.now, err)
}

// advanceScan reads a unit. The WAL's end is read at once, so the fence is as short as it can be.
func (s *small) advanceScan(i int) {
	f := &s.flight.scans[i]
	f.scan, f.ok = s.scan(f.unit)
	f.scan.Bound, f.done = s.lsn, true
}

func (s *small) hearScan(i int) {
	f := s.flight.scans[i]
	s.flight.scans = slices.Delete(s.flight.scans, i, i+1)
	s.scans--
	if !f.ok {
		s.core.Scanned(s.now, f.unit, applier.Scan{}, errors.New("lock timeout"))
		return
	}
	s.scanned[f.unit]++
	s.core.Scanned(s.now, f.unit, f.scan, nil)
}
