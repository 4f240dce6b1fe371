package main

import (
	"context"
	"flag"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// plainLoop is the first argument that makes this program the peer of that name: what one writes in Go to read a
// publication, with the library's own parser, and keeps nothing of it.
const plainLoop = "plain-loop"

func runLoop(ctx context.Context, args []string) error {
	f := flag.NewFlagSet(plainLoop, flag.ExitOnError)
	url := f.String("url", "", "connection string")
	slot := f.String("slot", "", "replication slot")
	publications := f.String("publications", "", "publications, by commas")
	end := f.String("end", "", "LSN to end at; never if empty")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	r := reading{url: *url, slot: *slot, publications: *publications}
	if *end != "" {
		lsn, err := pglogrepl.ParseLSN(*end)
		if err != nil {
			return err
		}
		r.end = lsn
	}
	err := r.run(ctx, func(pglogrepl.Message) error { return nil })
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// reading is a plain reader of a slot.
type reading struct {
	url, slot, publications string
	end                     pglogrepl.LSN // 0: until the context ends
}

// run reads until the end, and hands on what the library made of each message.
func (r reading) run(ctx context.Context, take func(pglogrepl.Message) error) error {
	config, err := pgconn.ParseConfig(r.url)
	if err != nil {
		return err
	}
	config.RuntimeParams["replication"] = "database"
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	err = pglogrepl.StartReplication(ctx, conn, r.slot, 0, pglogrepl.StartReplicationOptions{Mode: pglogrepl.LogicalReplication, PluginArgs: []string{
		"proto_version '2'", "streaming 'on'", "messages 'true'", fmt.Sprintf("publication_names '%s'", r.publications),
	}})
	if err != nil {
		return fmt.Errorf("start replication: %w", err)
	}
	const report = time.Second
	var at pglogrepl.LSN
	streaming, inside := false, false
	next := time.Now().Add(report)
	for r.end == 0 || at < r.end {
		if now := time.Now(); now.After(next) {
			if err := pglogrepl.SendStandbyStatusUpdate(ctx, conn, pglogrepl.StandbyStatusUpdate{WALWritePosition: at}); err != nil {
				return err
			}
			next = now.Add(report)
		}
		waiting, cancel := context.WithDeadline(ctx, next)
		raw, err := conn.ReceiveMessage(waiting)
		cancel()
		if pgconn.Timeout(err) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return err
		}
		data, ok := raw.(*pgproto3.CopyData)
		if !ok {
			if failed, ok := raw.(*pgproto3.ErrorResponse); ok {
				return pgconn.ErrorResponseToPgError(failed)
			}
			continue
		}
		switch data.Data[0] {
		case pglogrepl.PrimaryKeepaliveMessageByteID:
			k, err := pglogrepl.ParsePrimaryKeepaliveMessage(data.Data[1:])
			if err != nil {
				return err
			}
			if !inside {
				at = max(at, k.ServerWALEnd)
			}
			if k.ReplyRequested {
				next = time.Time{}
			}
		case pglogrepl.XLogDataByteID:
			x, err := pglogrepl.ParseXLogData(data.Data[1:])
			if err != nil {
				return err
			}
			m, err := pglogrepl.ParseV2(x.WALData, streaming)
			if err != nil {
				return err
			}
			switch m := m.(type) {
			case *pglogrepl.BeginMessage:
				inside = true
			case *pglogrepl.CommitMessage:
				at, inside = m.TransactionEndLSN, false
			case *pglogrepl.StreamStartMessageV2:
				streaming, inside = true, true
			case *pglogrepl.StreamStopMessageV2:
				streaming, inside = false, false
			case *pglogrepl.StreamCommitMessageV2:
				at = m.TransactionEndLSN
			}
			if err := take(m); err != nil {
				return err
			}
		}
	}
	return nil
}
