package pg

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// AnswerWithin is how much longer than the server's own timeout our clock waits for an answer: from a server that is stopped, or
// behind a half-open connection, no timeout of the server's is ever heard of.
const AnswerWithin = 15 * time.Second

// CloseWithin bounds the closing of connections: a peer that is gone reads nothing.
const CloseWithin = 2 * time.Second

// deadlines bounds every statement of a connection by this process's own clock, whatever context it came with. A statement that runs out of time
// costs the connection: pgx closes it. What is waited for without a statement (a notification) is not bounded.
type deadlines struct{ within time.Duration }

type cancelKey struct{}

func (d deadlines) begin(ctx context.Context) context.Context {
	ctx, cancel := context.WithTimeout(ctx, d.within) // the end of the statement cancels it
	return context.WithValue(ctx, cancelKey{}, cancel)
}

func (d deadlines) end(ctx context.Context) {
	if cancel, ok := ctx.Value(cancelKey{}).(context.CancelFunc); ok {
		cancel()
	}
}

// TraceQueryStart is called by pgx.
func (d deadlines) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return d.begin(ctx)
}

// TraceQueryEnd is called by pgx when the last row has been read.
func (d deadlines) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	d.end(ctx)
}

// TraceBatchStart is called by pgx.
func (d deadlines) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return d.begin(ctx)
}

// TraceBatchQuery is called by pgx.
func (d deadlines) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd is called by pgx when the last answer has been read.
func (d deadlines) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchEndData) {
	d.end(ctx)
}
