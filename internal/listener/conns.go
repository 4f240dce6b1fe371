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
// answered, the one that has been for longest: a new one may be a probe.
type conns struct {
	net.Listener
	most int

	mu   sync.Mutex
	open map[net.Conn]held
	shut int64 // how many were closed for want of room
}

// held is what a connection is at.
type held struct {
	answered bool // a whole request is being answered
	since    time.Time
}

func newConns(l net.Listener, most int) *conns {
	return &conns{Listener: l, most: most, open: make(map[net.Conn]held, most)}
}

// Accept implements net.Listener.
func (c *conns) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c.admit(conn)
	return conn, nil
}

func (c *conns) admit(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.most {
		c.shut++
		goes := c.leastNeeded()
		delete(c.open, goes)
		_ = goes.Close()
	}
	c.open[conn] = held{since: time.Now()}
}

// leastNeeded is one that is not being answered, if there is any, and of those the oldest.
func (c *conns) leastNeeded() (goes net.Conn) {
	var worst held
	for conn, h := range c.open {
		if goes == nil || h.answered != worst.answered && worst.answered || h.answered == worst.answered && h.since.Before(worst.since) {
			goes, worst = conn, h
		}
	}
	return goes
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
		c.open[conn] = held{since: time.Now()}
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
		c.open[conn] = held{answered: true, since: time.Now()}
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
