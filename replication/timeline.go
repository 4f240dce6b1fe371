package replication

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

// Left says where the history of the server's timeline left an older one, 0 when it never was on that or the server does
// not tell: nothing that was written there past this position is part of the server's WAL.
func (s *Stream) Left(ctx context.Context, current, older int32) (pglogrepl.LSN, error) {
	if current <= 1 { // the first one has no history
		return 0, nil
	}
	r, err := pglogrepl.TimelineHistory(ctx, s.conn, current)
	if _, refused := errors.AsType[*pgconn.PgError](err); refused {
		return 0, nil // whoever does not know scans
	}
	if err != nil {
		return 0, fmt.Errorf("read the history of timeline %d: %w", current, err)
	}
	return left(string(r.Content), older)
}

// left finds a timeline among the lines of a history, which are: timeline, where it was left, why.
func left(history string, older int32) (pglogrepl.LSN, error) {
	for line := range strings.Lines(history) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != strconv.Itoa(int(older)) {
			continue
		}
		at, err := pglogrepl.ParseLSN(words[1])
		if err != nil {
			return 0, fmt.Errorf("read the history of timelines: %q: %w", line, err)
		}
		return at, nil
	}
	return 0, nil
}

// CarryToStandbys makes a failover slot of one that nobody reads.
func (s *Stream) CarryToStandbys(ctx context.Context, slot string) error {
	if err := s.conn.Exec(ctx, fmt.Sprintf("ALTER_REPLICATION_SLOT %s (FAILOVER true)", slot)).Close(); err != nil {
		return fmt.Errorf("make replication slot %s a failover slot: %w", slot, err)
	}
	return nil
}
