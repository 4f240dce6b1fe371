package listener

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var paths = []string{"/", "/metrics", "/healthz", "/readyz", "/status.json"}

// Nothing is changed by a request, and a page elsewhere can neither show nor read what is here.
func TestOnlyReading(t *testing.T) {
	r := newRig(t, leads(time.Now()))
	for _, path := range paths {
		w := r.get(path)
		require.Equal(t, http.StatusOK, w.Code, path)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		require.Equal(t, "DENY", w.Header().Get("X-Frame-Options"))
		require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
		require.Equal(t, http.StatusOK, r.ask(http.MethodHead, path, "localhost").Code, path)
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "TRACE"} {
			require.Equal(t, http.StatusMethodNotAllowed, r.ask(method, path, "localhost").Code, method+path)
		}
	}
	for _, path := range []string{"/nothing", "/debug/pprof/", "/debug/pprof/heap", "/metrics/", "/..//etc/passwd"} {
		require.NotEqual(t, http.StatusOK, r.get(path).Code, path)
	}
}

// A name that somebody else's server gave out for 127.0.0.1 is answered nothing; bound elsewhere, any name may be ours.
func TestStrangeHosts(t *testing.T) {
	r := newRig(t, leads(time.Now()))
	for _, path := range append(paths, "/nothing") {
		w := r.ask(http.MethodGet, path, "evil.example:9187")
		require.Equal(t, http.StatusMisdirectedRequest, w.Code, path)
		require.NotContains(t, w.Body.String(), "counters")
	}
	require.Equal(t, http.StatusOK, r.ask(http.MethodGet, "/healthz", "127.0.0.1:9187").Code)
	r.local = false
	require.Equal(t, http.StatusOK, r.ask(http.MethodGet, "/healthz", "db1.example:9187").Code)
}

// Profiles are there when they are asked for, and the command line, which may hold a URL with a password, never.
func TestProfiles(t *testing.T) {
	r := newRig(t, leads(time.Now()), func(c *Config) { c.Pprof = true })
	require.Equal(t, http.StatusOK, r.get("/debug/pprof/heap").Code)
	require.Equal(t, http.StatusOK, r.get("/debug/pprof/goroutine?debug=1").Code)
	for _, path := range []string{"/debug/pprof/cmdline", "/debug/pprof/", "/debug/pprof/symbol"} {
		require.Equal(t, http.StatusNotFound, r.get(path).Code, path)
	}
}

// A thousand connections that say nothing, or never come to an end, keep nobody out, and are not all kept.
func TestManyConnections(t *testing.T) {
	r := newRig(t, leads(time.Now()), func(c *Config) { c.MostConns = 20; c.Patience = time.Minute })
	r.serve()
	for i, c := range r.dial(1000) {
		if i%2 == 0 {
			_, _ = c.Write([]byte("GET / HTTP/1.1\r\nHost: loc")) // and no more
		}
	}
	for range 5 {
		code, body := fetch(t, "http://"+r.Address()+"/healthz")
		require.Equal(t, http.StatusOK, code)
		require.Equal(t, "ok\n", body)
	}
	open, shut := r.conns.count()
	require.LessOrEqual(t, open, 20)
	require.GreaterOrEqual(t, shut, int64(980))
}

// Who is being answered is not cut off for who comes later, as long as somebody else says nothing; when all are being
// answered, the one goes that has been for longest.
func TestBusyConnectionsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pipes []net.Conn
		for range 4 {
			a, b := net.Pipe()
			defer func() { _, _ = a.Close(), b.Close() }()
			pipes = append(pipes, a)
			time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
		}
		conns := newConns(nil, 2)
		admit := func(i int) {
			conns.admit(pipes[i])
			time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
		}
		open := func(i int) bool { _, there := conns.open[pipes[i]]; return there }
		admit(0)
		conns.answering(pipes[0])
		admit(1)
		admit(2)
		require.True(t, open(0), "it is being answered")
		require.False(t, open(1), "it had said nothing")
		conns.answering(pipes[2])
		admit(3)
		require.False(t, open(0), "the oldest of two that were being answered")
		require.True(t, open(2))
		conns.state(pipes[2], http.StateIdle)
		conns.state(pipes[2], http.StateClosed)
		n, shut := conns.count()
		require.Equal(t, 1, n)
		require.EqualValues(t, 2, shut)
		conns.state(pipes[3], http.StateClosed)
		n, _ = conns.count()
		require.Zero(t, n)
	})
}

// A request with a body is refused before the body has come: one that trickles would hold a place.
func TestBodiesAreRefused(t *testing.T) {
	r := newRig(t, leads(time.Now()), func(c *Config) { c.MostConns = 20; c.Patience = time.Minute })
	r.serve()
	for _, framing := range []string{"Content-Length: 100\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n5\r\nx"} {
		var held []net.Conn
		for _, c := range r.dial(20) {
			_, err := c.Write([]byte("GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + framing))
			require.NoError(t, err)
			require.NoError(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
			held = append(held, c)
		}
		for range 5 {
			code, body := fetch(t, "http://"+r.Address()+"/healthz")
			require.Equal(t, http.StatusOK, code)
			require.Equal(t, "ok\n", body)
		}
		for _, c := range held {
			answer, err := io.ReadAll(c)
			require.False(t, isTimeout(err), "the connection is kept")
			if len(answer) > 0 { // else it had to make room
				require.Contains(t, string(answer), "413 Request Entity Too Large")
				require.Contains(t, string(answer), "Connection: close")
			}
		}
	}
}

// Probes are answered at once, however many ask for the rest without end.
func TestProbesPassTheGate(t *testing.T) {
	r := newRig(t, leads(time.Now()))
	r.gate.next = time.Now().Add(time.Hour) // so many wait
	require.Equal(t, http.StatusTooManyRequests, r.get("/metrics").Code)
	require.Equal(t, http.StatusTooManyRequests, r.get("/").Code)
	require.Equal(t, http.StatusOK, r.get("/healthz").Code)
	require.Equal(t, http.StatusOK, r.get("/readyz").Code)
}

// Slow clients are cut off: one that does not say what it wants, and one that says it forever.
func TestSlowClients(t *testing.T) {
	r := newRig(t, leads(time.Now()), func(c *Config) { c.Patience = 200 * time.Millisecond })
	r.serve()
	for _, begin := range []string{"", "GET / HTTP/1.1\r\nHost: localhost\r\nX: ", "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n1"} {
		conn := r.dial(1)[0]
		_, err := conn.Write([]byte(begin))
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
		in := bufio.NewReader(conn)
		for err == nil {
			_, err = in.ReadByte()
		}
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		require.False(t, isTimeout(err), "still open after %q", begin)
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error) //nolint:errorlint // as it comes
	return ok && e.Timeout()
}

// Whoever asks without end waits, and past a second is sent away.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		began := time.Now()
		for range 20 {
			require.True(t, g.pass(t.Context()))
		}
		require.Zero(t, time.Since(began), "a burst passes")
		for range 100 {
			require.True(t, g.pass(t.Context()))
		}
		require.Equal(t, 500*time.Millisecond, time.Since(began))
		passed := make(chan bool, 300)
		for range 300 {
			go func() { passed <- g.pass(t.Context()) }()
		}
		n := 0
		for range 300 {
			if <-passed {
				n++
			}
		}
		require.Equal(t, 200, n)
	})
}

// A header that is too long is refused, not kept.
func TestLongHeaders(t *testing.T) {
	r := newRig(t, leads(time.Now()))
	r.serve()
	conn := r.dial(1)[0]
	_, _ = conn.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"))
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	line, _ := bufio.NewReader(conn).ReadString('\n')
	require.True(t, line == "" || strings.Contains(line, "431"), line)
}
