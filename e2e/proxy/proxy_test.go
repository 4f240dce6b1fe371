package proxy

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

const (
	patience = 10 * time.Second       // for what has to come
	silence  = 100 * time.Millisecond // in which what must not come would have come
)

// server answers each connection with a greeting of its own, and then with what it hears.
func server(t *testing.T, greeting string) (address string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				_, _ = io.WriteString(c, greeting)
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func forwarding(t *testing.T) *Proxy {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) }) // after the cleanups below
	p, err := New(server(t, "1"))
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	return c
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
}

func hears(t *testing.T, c net.Conn, text string) {
	t.Helper()
	b := make([]byte, len(text))
	_, err := io.ReadFull(c, b)
	require.NoError(t, err)
	require.Equal(t, text, string(b))
}

// ends reads until the connection does, and returns what came.
func ends(t *testing.T, c net.Conn) []byte {
	t.Helper()
	b, err := io.ReadAll(c)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	var timeout net.Error
	if err != nil {
		require.ErrorAs(t, err, &timeout)
		require.False(t, timeout.Timeout(), "it stays open")
	}
	return b
}

func TestForwardsInOrder(t *testing.T) {
	p := forwarding(t)
	c := dial(t, p)
	hears(t, c, "1")
	sent := make([]byte, 1<<20)
	for i := range sent {
		sent[i] = byte(i >> 8)
	}
	go func() { _, _ = c.Write(sent) }()
	got := make([]byte, len(sent))
	_, err := io.ReadFull(c, got)
	require.NoError(t, err)
	require.True(t, bytes.Equal(sent, got))
}

func TestCutAndHeal(t *testing.T) {
	p := forwarding(t)
	c := dial(t, p)
	hears(t, c, "1")
	p.Cut()
	require.Empty(t, ends(t, c))
	require.Empty(t, ends(t, dial(t, p)), "refused, so not even greeted")
	p.Heal()
	hears(t, dial(t, p), "1")
}

// After a hole in the network, what was said in it arrives; a new connection is accepted, and answered only then.
func TestHalfOpen(t *testing.T) {
	p := forwarding(t)
	old := dial(t, p)
	hears(t, old, "1")
	p.HalfOpen()
	say(t, old, "still there?")
	fresh := dial(t, p)
	for _, c := range []net.Conn{old, fresh} {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(silence)))
		_, err := c.Read(make([]byte, 1))
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout(), "it ended, and was to be silent")
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	}
	p.Heal()
	hears(t, old, "still there?")
	hears(t, fresh, "1")
}

func TestSlowLosesNothing(t *testing.T) {
	p := forwarding(t)
	c := dial(t, p)
	hears(t, c, "1")
	p.Slow()
	text := string(bytes.Repeat([]byte("a few bytes at a time"), 100))
	began := time.Now()
	say(t, c, text)
	hears(t, c, text)
	require.Greater(t, time.Since(began), time.Duration(len(text)/256)*2*time.Millisecond, "a pause after each 256 bytes, one way at least")
}

// Every connection ends, in the middle of what was said; the next one is served.
func TestResetAfter(t *testing.T) {
	p := forwarding(t)
	c, other := dial(t, p), dial(t, p)
	hears(t, c, "1")
	hears(t, other, "1")
	p.ResetAfter(8)
	say(t, c, "1234")
	hears(t, c, "1234")
	say(t, c, "56789abc")
	require.Less(t, len(ends(t, c)), 8)
	require.Empty(t, ends(t, other))
	hears(t, dial(t, p), "1")
}

// What is said first is passed on, what is said second is not, and its connection ends.
func TestInterruptAt(t *testing.T) {
	p := forwarding(t)
	interrupted := make(chan int, 1)
	p.InterruptAt(2, func() bool { interrupted <- p.Said(); return false })
	c, other := dial(t, p), dial(t, p)
	hears(t, c, "1")
	hears(t, other, "1")
	say(t, c, "first")
	hears(t, c, "first")
	say(t, c, "second")
	require.Empty(t, ends(t, c))
	require.Equal(t, 2, <-interrupted)
	say(t, other, "third")
	hears(t, other, "third")
	require.Equal(t, 3, p.Said())

	p.InterruptAt(4, func() bool { return true })
	say(t, other, "fourth")
	hears(t, other, "fourth")
}

// Who is connected stays connected to whom it was.
func TestRetarget(t *testing.T) {
	p := forwarding(t)
	old := dial(t, p)
	hears(t, old, "1")
	p.Retarget(server(t, "2"))
	hears(t, dial(t, p), "2")
	say(t, old, "you")
	hears(t, old, "you")
}

func TestCloseEndsTheSilent(t *testing.T) {
	p := forwarding(t)
	c := dial(t, p)
	hears(t, c, "1")
	p.HalfOpen()
	say(t, c, "anybody?")
	p.Close()
	require.Empty(t, ends(t, c))
	_, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.Addr())
	require.Error(t, err)
}
