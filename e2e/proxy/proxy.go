package proxy

import (
	"context"
	"net"
	"sync"
	"time"
)

// Proxy forwards connections to a target until it is told to misbehave.
type Proxy struct {
	target   string
	listener net.Listener

	mu    sync.Mutex
	mode  mode
	left  int // bytes to the client until a reset
	said  int // how often clients have spoken, over all connections
	cut   int // what is said then is interrupted; 0 never
	at    func() (deliver bool)
	woken chan struct{}
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

type mode int

const (
	through mode = iota
	refusing
	silent
	slow
	counting
)

// New listens on a free port of the loopback interface.
func New(target string) (*Proxy, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: target, listener: l, woken: make(chan struct{}), conns: make(map[net.Conn]struct{})}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where to connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close ends everything.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.set(refusing)
	p.closeAll()
	p.wg.Wait()
}

// Heal forwards again. Connections that were silent go on, as after a hole in the network.
func (p *Proxy) Heal() { p.set(through) }

// Cut closes every connection and refuses new ones.
func (p *Proxy) Cut() {
	p.set(refusing)
	p.closeAll()
}

// HalfOpen stops forwarding in both directions without a word; new connections get no answer.
func (p *Proxy) HalfOpen() { p.set(silent) }

// Slow forwards a few bytes at a time, each after a pause.
func (p *Proxy) Slow() { p.set(slow) }

// ResetAfter resets all connections once n more bytes have gone to the client: in the middle of a message.
func (p *Proxy) ResetAfter(n int) {
	p.mu.Lock()
	p.left = n
	p.mu.Unlock()
	p.set(counting)
}

// InterruptAt calls f when clients have spoken n times, over all connections, before what they say is passed on. f
// says whether it still is; if not, the connection ends.
func (p *Proxy) InterruptAt(n int, f func() (deliver bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.at = n, f
}

// Said is how often clients have spoken.
func (p *Proxy) Said() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said
}

func (p *Proxy) spoke() (deliver bool) {
	p.mu.Lock()
	p.said++
	f := p.at
	if p.said != p.cut {
		f = nil
	}
	p.mu.Unlock()
	return f == nil || f()
}

func (p *Proxy) set(m mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	close(p.woken)
	p.woken = make(chan struct{})
}

func (p *Proxy) state() (mode, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode, p.woken
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		if m, _ := p.state(); m == refusing {
			_ = c.Close()
			continue
		}
		p.wg.Go(func() { p.serve(c) })
	}
}

// Retarget leads new connections elsewhere, as a failover does with an address; Cut ends the old ones.
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", target)
	if err != nil {
		_ = client.Close()
		return
	}
	p.remember(client, server)
	defer p.forget(client, server)
	done := make(chan struct{}, 2)
	p.wg.Go(func() { p.copy(server, client, false); done <- struct{}{} })
	p.wg.Go(func() { p.copy(client, server, true); done <- struct{}{} })
	<-done
	_ = client.Close()
	_ = server.Close()
	<-done
}

func (p *Proxy) copy(to, from net.Conn, counted bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !counted && !p.spoke() {
			return
		}
		if n > 0 && !p.forward(to, buf[:n], counted) {
			return
		}
		if err != nil {
			return
		}
	}
}

// forward passes bytes on as the mode of the moment has it; false when the connection is to end.
func (p *Proxy) forward(to net.Conn, b []byte, counted bool) bool {
	for len(b) > 0 {
		m, woken := p.state()
		n := len(b)
		switch m {
		case refusing:
			return false
		case silent:
			<-woken
			continue
		case slow:
			n = min(n, 256)
			select {
			case <-time.After(2 * time.Millisecond):
			case <-woken:
			}
		case counting:
			if counted && p.spent(n) {
				_, _ = to.Write(b[:n/2])
				p.resetAll()
				return false
			}
		}
		if _, err := to.Write(b[:n]); err != nil {
			return false
		}
		b = b[n:]
	}
	return true
}

func (p *Proxy) spent(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left -= n
	return p.left <= 0
}

func (p *Proxy) resetAll() {
	p.mu.Lock()
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	}
	p.mu.Unlock()
	p.set(through)
	p.closeAll()
}

func (p *Proxy) remember(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
}

func (p *Proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
		_ = c.Close()
	}
}

func (p *Proxy) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}
