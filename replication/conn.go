package replication

import (
	"net"
	"time"
)

// gather is a network connection that reads in big gulps. A walsender sends every message by
// itself; reading each one alone costs more than decoding it. So when the last gulp was small, a TCP
// socket is given a millisecond to fill before the next. A Unix socket holds so few messages that
// the walsender would stand still meanwhile (docs/reports/benchmark.md).
type gather struct {
	net.Conn
	buf     []byte
	rest    []byte
	patient bool // waiting for more pays
	relaxed bool // the last gulp was small
	on      bool // off during the handshake, where every message is answered
}

const (
	gulp  = 256 << 10
	small = 16 << 10
	fill  = time.Millisecond
)

func newGather(c net.Conn) *gather { return &gather{Conn: c} }

// start begins gathering. It must be called by the goroutine that reads.
func (g *gather) start() {
	g.buf = make([]byte, gulp)
	g.on = true
	g.patient = g.LocalAddr().Network() != "unix"
}

func (g *gather) Read(p []byte) (int, error) {
	if !g.on {
		return g.Conn.Read(p)
	}
	if len(g.rest) == 0 {
		if g.patient && g.relaxed {
			time.Sleep(fill)
		}
		n, err := g.Conn.Read(g.buf)
		if n == 0 {
			return 0, err
		}
		g.rest, g.relaxed = g.buf[:n], n < small
	}
	n := copy(p, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

func (g *gather) buffered() int { return len(g.rest) }
