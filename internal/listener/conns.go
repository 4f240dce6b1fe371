package listener

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// conns bounds the connections of a server. When there are too many, the one goes that has been without a whole request for
// longest, so that whoever opens a great many, and says nothing or never comes to an end, keeps nobody out; when all are being
// answered, the new one goes.
type conns struct {
	net.Listener
	most int

	mu   sync.Mutex
	open map[net.Conn]time.Time // since when no request is answered; zero while one is
	shut int64                  // how many were closed for want of room
}

func newConns(l net.Listener, most int) *conns {
	return &conns{Listener: l, most: most, open: make(map[net.Conn]time.Time, most)}
}

// Accept implements net.Listener.
func (c *conns) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c.admit(conn) {
			return conn, nil
		}
		_ = conn.Close()
	}
}

func (c *conns) admit(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.most {
		c.shut++
		oldest := c.idlest()
		if oldest == nil {
			return false
		}
		delete(c.open, oldest)
		_ = oldest.Close()
	}
	c.open[conn] = time.Now()
	return true
}

func (c *conns) idlest() (oldest net.Conn) {
	var since time.Time
	for conn, idle := range c.open {
		if !idle.IsZero() && (oldest == nil || idle.Before(since)) {
			oldest, since = conn, idle
		}
	}
	return oldest
}

// state is the server's http.Server.ConnState.
func (c *conns) state(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.open[conn]; !known {
		return
	}
	switch s {
	case http.StateIdle:
		c.open[conn] = time.Now()
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
	case http.StateNew, http.StateActive: // its first bytes have come; the whole request may be long in coming
	}
}

// answering notes that the request of a connection is whole, and being answered.
func (c *conns) answering(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.open[conn]; known {
		c.open[conn] = time.Time{}
	}
}

type connKey struct{}

// remember is the server's http.Server.ConnContext.
func remember(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// count returns how many are open, and how many were closed for want of room.
func (c *conns) count() (open int, shut int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open), c.shut
}
