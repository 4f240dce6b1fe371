package replication

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/testonly/pgoutputtest"
)

// A scripted stream begins at origin, on a server whose WAL ends at walEnd.
const (
	origin pglogrepl.LSN = 0x1000
	walEnd pglogrepl.LSN = 0x9000
)

// walsender is the server's end of one replication session, which follows a script. What it sends waits for the client
// in order, as it would in the buffers of two sockets; each call of send is one read of the client's. What the client
// says is kept.
type walsender struct {
	conn  net.Conn
	back  *pgproto3.Backend
	queue chan []byte
	gone  chan struct{}

	refusals map[string][]*pgproto3.ErrorResponse // answers to commands that begin so, one after the other
	eager    []pgproto3.BackendMessage            // in one write with the answer to START_REPLICATION
	rude     bool                                 // does not answer a CopyDone

	mu       sync.Mutex
	startup  map[string]string
	commands []string
	statuses []status
	last     []string // the kinds of message after the commands, "r" for a status
}

// status is what a standby status update says, and when it came.
type status struct {
	at                        time.Time
	written, flushed, applied pglogrepl.LSN
	asks                      bool
}

// newWalsender serves at conn until the test ends.
func newWalsender(t *testing.T, conn net.Conn) *walsender {
	t.Helper()
	w := &walsender{
		conn: conn, queue: make(chan []byte, 4096), gone: make(chan struct{}),
		refusals: make(map[string][]*pgproto3.ErrorResponse),
	}
	w.back = pgproto3.NewBackend(conn, w)
	var ended sync.WaitGroup
	ended.Go(w.deliver)
	ended.Go(w.serve)
	t.Cleanup(func() {
		close(w.gone)
		_ = conn.Close()
		ended.Wait()
	})
	return w
}

// Write takes what the backend flushes. It never blocks: two ends of a pipe that both write would.
func (w *walsender) Write(b []byte) (int, error) {
	w.queue <- slices.Clone(b)
	return len(b), nil
}

func (w *walsender) deliver() {
	for {
		select {
		case b := <-w.queue:
			if _, err := w.conn.Write(b); err != nil {
				return
			}
		case <-w.gone:
			return
		}
	}
}

func (w *walsender) serve() {
	for {
		first, err := w.back.ReceiveStartupMessage()
		if err != nil {
			return
		}
		if m, ok := first.(*pgproto3.StartupMessage); ok {
			w.mu.Lock()
			w.startup = m.Parameters
			w.mu.Unlock()
			break
		}
	}
	w.reply(&pgproto3.AuthenticationOk{}, &pgproto3.ParameterStatus{Name: "server_version", Value: "17.2"},
		&pgproto3.BackendKeyData{ProcessID: 4711, SecretKey: []byte{0, 0, 0, 1}}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	for {
		m, err := w.back.Receive()
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *pgproto3.Query:
			w.answer(m.String)
		case *pgproto3.CopyData:
			w.note("r", m.Data)
		case *pgproto3.CopyDone:
			w.note("CopyDone", nil)
			if !w.rude {
				w.reply(&pgproto3.CopyDone{}, &pgproto3.CommandComplete{CommandTag: []byte("COPY 0")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
			}
		case *pgproto3.Terminate:
			w.note("Terminate", nil)
		}
	}
}

// answer is what a server answers to the few commands that a replication session knows.
func (w *walsender) answer(command string) {
	w.mu.Lock()
	w.commands = append(w.commands, command)
	w.mu.Unlock()
	done := func(tag string) []pgproto3.BackendMessage {
		return []pgproto3.BackendMessage{&pgproto3.CommandComplete{CommandTag: []byte(tag)}, &pgproto3.ReadyForQuery{TxStatus: 'I'}}
	}
	word, _, _ := strings.Cut(command, " ")
	if refusals := w.refusals[word]; len(refusals) > 0 {
		w.refusals[word] = refusals[1:]
		w.reply(refusals[0], &pgproto3.ReadyForQuery{TxStatus: 'I'})
		return
	}
	switch word {
	case "IDENTIFY_SYSTEM":
		w.reply(append(row("7000000000000000001", "1", walEnd.String(), "app"), done("IDENTIFY_SYSTEM")...)...)
	case "CREATE_REPLICATION_SLOT":
		w.reply(append(row("s", origin.String(), "", Plugin), done("CREATE_REPLICATION_SLOT")...)...)
	case "START_REPLICATION":
		w.reply(append([]pgproto3.BackendMessage{&pgproto3.CopyBothResponse{}}, w.eager...)...)
	default:
		w.reply(done("SET")...)
	}
}

func row(values ...string) []pgproto3.BackendMessage {
	var fields pgproto3.RowDescription
	var data pgproto3.DataRow
	for _, v := range values {
		fields.Fields = append(fields.Fields, pgproto3.FieldDescription{Name: []byte("c"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1})
		data.Values = append(data.Values, []byte(v))
	}
	return []pgproto3.BackendMessage{&fields, &data}
}

func (w *walsender) note(kind string, data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = append(w.last, kind)
	if kind != "r" {
		return
	}
	lsn := func(i int) pglogrepl.LSN { return pglogrepl.LSN(binary.BigEndian.Uint64(data[1+8*i:])) }
	w.statuses = append(w.statuses, status{time.Now(), lsn(0), lsn(1), lsn(2), data[33] == 1})
}

// reply sends messages in one write.
func (w *walsender) reply(messages ...pgproto3.BackendMessage) {
	for _, m := range messages {
		w.back.Send(m)
	}
	_ = w.back.Flush()
}

// raw is what messages are on the wire.
func raw(t *testing.T, messages ...pgproto3.BackendMessage) []byte {
	t.Helper()
	var out []byte
	for _, m := range messages {
		var err error
		out, err = m.Encode(out)
		require.NoError(t, err)
	}
	return out
}

// send lets the client read messages, all at once.
func (w *walsender) send(t *testing.T, messages ...pgproto3.BackendMessage) {
	t.Helper()
	_, _ = w.Write(raw(t, messages...))
}

// told are the statuses so far, the commands and whatever else was said.
func (w *walsender) told() ([]status, []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.statuses), slices.Clone(w.last)
}

func (w *walsender) asked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.commands)
}

// stranger knows no table.
type stranger struct{}

func (stranger) Table(uint32, string, string, []string) (decoder.Table, error) {
	return decoder.Table{Kind: decoder.Ignored}, nil
}

// open connects a Stream to the other end of a scripted server, with the settings of the daemon's.
func open(t *testing.T, conn net.Conn) *Stream {
	t.Helper()
	source, err := pg.ParseSource("host=walsender user=u dbname=app sslmode=disable")
	require.NoError(t, err)
	config := source.ReplicationConfig()
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	s, err := Open(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// connected is a session before its stream begins.
func connected(t *testing.T) (*walsender, *Stream) {
	t.Helper()
	ours, theirs := net.Pipe()
	w := newWalsender(t, theirs)
	return w, open(t, ours)
}

// running is a stream that is being read.
type running struct {
	*walsender
	stream *Stream
	out    chan Batch
	ended  chan error
	stop   context.CancelFunc
	taken  []Batch
}

// start begins to read, with somebody who has room for so many batches.
func start(t *testing.T, w *walsender, s *Stream, room int) *running {
	t.Helper()
	_, err := s.Identify(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Start(t.Context(), "s", []string{"p"}, origin, decoder.New(stranger{}, "awa-counterd")))
	ctx, stop := context.WithCancel(t.Context())
	r := &running{walsender: w, stream: s, out: make(chan Batch, room), ended: make(chan error, 1), stop: stop}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.ended <- s.Run(ctx, r.out)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return r
}

// streaming is a stream whose batches are taken at once, in the fake time of a synctest bubble.
func streaming(t *testing.T) *running {
	t.Helper()
	w, s := connected(t)
	r := start(t, w, s, 4096)
	r.settle()
	return r
}

// pass lets a time of the bubble's go by, and whatever happens at its end.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// settle waits until everything that was sent is read. The client waits a millisecond for more.
func (r *running) settle() {
	pass(2 * fill)
	for {
		select {
		case b := <-r.out:
			r.taken = append(r.taken, b)
		default:
			return
		}
	}
}

// batches are those since the last look.
func (r *running) batches() []Batch {
	r.settle()
	out := r.taken
	r.taken = nil
	return out
}

// end waits for the stream to end, and says with what.
func (r *running) end() error { return <-r.ended }

// live reports that the stream goes on.
func (r *running) live() bool { return len(r.ended) == 0 }

// newest is the last status.
func (r *running) newest(t *testing.T) status {
	t.Helper()
	all, _ := r.told()
	require.NotEmpty(t, all)
	return all[len(all)-1]
}

// The messages of a stream.

func copyData(kind byte, fields ...any) *pgproto3.CopyData {
	data := []byte{kind}
	for _, f := range fields {
		switch f := f.(type) {
		case pglogrepl.LSN:
			data = binary.BigEndian.AppendUint64(data, uint64(f))
		case []byte:
			data = append(data, f...)
		case bool:
			data = append(data, map[bool]byte{true: 1}[f])
		}
	}
	return &pgproto3.CopyData{Data: data}
}

const noClock pglogrepl.LSN = 0

// keepalive says that the server's WAL ends at end.
func keepalive(end pglogrepl.LSN, reply bool) *pgproto3.CopyData {
	return copyData(pglogrepl.PrimaryKeepaliveMessageByteID, end, noClock, reply)
}

// xlog wraps a message of the plugin's. The two positions in its header are no positions of the stream.
func xlog(m *pgoutputtest.Message) *pgproto3.CopyData {
	return copyData(pglogrepl.XLogDataByteID, pglogrepl.LSN(0), walEnd<<8, noClock, m.B)
}

func begin(xid uint32) *pgproto3.CopyData {
	return xlog(pgoutputtest.New('B').U64(0).U64(0).U32(xid))
}

func commit(end pglogrepl.LSN) *pgproto3.CopyData {
	return xlog(pgoutputtest.New('C').U8(0).U64(uint64(end - 8)).U64(uint64(end)).U64(0))
}

// transactions are some, each 0x10 long, the first of which ends 0x10 after from.
func transactions(from pglogrepl.LSN, n int) []pgproto3.BackendMessage {
	var out []pgproto3.BackendMessage
	for i := range n {
		out = append(out, begin(uint32(700+i)), commit(from+0x10*pglogrepl.LSN(i+1)))
	}
	return out
}

// ends are where the transactions of batches end.
func ends(batches []Batch) []pglogrepl.LSN {
	var out []pglogrepl.LSN
	for _, b := range batches {
		for _, tx := range b.Txs {
			out = append(out, tx.End)
		}
	}
	return out
}

var _ io.Writer = (*walsender)(nil)
