package replication

import (
	"net"
	"time"
)

// coalesce is a network connection that reads much at a time. A walsender sends every message by itself, and waking
// up for each costs more than decoding it. So when the last read brought little, the socket is left to fill for a
// moment before the next.
type coalesce struct {
	net.Conn
	buf   []byte
	rest  []byte
	pause time.Duration
	least bool      // the last read brought little
	on    bool      // off during the handshake, where every message is answered
	heard time.Time // when bytes came last, whether a whole message or not; or when somebody began to read
}

const (
	readSize = 256 << 10
	little   = 16 << 10
	// fill is a millisecond's worth of messages. A Unix socket holds some 200 messages, whatever their size: after a
	// longer pause the walsender would have stood still.
	fill     = time.Millisecond
	fillUnix = 250 * time.Microsecond
)

func newCoalesce(c net.Conn) *coalesce { return &coalesce{Conn: c} }

// start begins it. It must be called by the goroutine that reads.
func (c *coalesce) start(gather time.Duration) {
	c.buf = make([]byte, readSize)
	c.pause = fill
	if c.LocalAddr().Network() == "unix" {
		c.pause = fillUnix
	}
	c.Conn = newDirect(c.Conn, gather)
	c.on = true
	c.heard = time.Now()
}

func (c *coalesce) Read(p []byte) (int, error) {
	if !c.on {
		return c.Conn.Read(p)
	}
	if len(c.rest) == 0 {
		if c.least {
			c.wait()
		}
		n, err := c.Conn.Read(c.buf)
		if n == 0 {
			return 0, err
		}
		c.rest, c.least, c.heard = c.buf[:n], n < little, time.Now()
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *coalesce) wait() {
	if d, ok := c.Conn.(interface{ rest(long time.Duration) }); ok {
		d.rest(c.pause)
		return
	}
	time.Sleep(fill) // there is no shorter one in an idle process
}

func (c *coalesce) buffered() int { return len(c.rest) }
