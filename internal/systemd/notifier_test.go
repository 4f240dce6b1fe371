package systemd

import (
	"errors"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// managed makes a Notifier whose messages go to a channel.
func managed(t *testing.T, watchdog time.Duration) (*Notifier, chan string) {
	t.Helper()
	said := make(chan string, 100)
	n := newNotifier(zap.NewNop(), watchdog, func(message string) error {
		said <- message
		return nil
	})
	go n.run()
	return n, said
}

func heard(said chan string) (all []string) {
	synctest.Wait()
	for len(said) > 0 {
		all = append(all, <-said)
	}
	return all
}

// Each thing is said once; signs of life, a few within the time that the watchdog gives, however many come.
func TestSaysEachOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, said := managed(t, time.Minute)
		n.Status("connecting")
		require.Equal(t, []string{"STATUS=connecting"}, heard(said))
		n.Alive()
		require.Equal(t, []string{"WATCHDOG=1\nEXTEND_TIMEOUT_USEC=60000000"}, heard(said), "not ready: the start is extended")
		n.Ready()
		n.Ready()
		n.Status("connecting")
		require.Equal(t, []string{"READY=1"}, heard(said))
		for range 1000 {
			time.Sleep(20 * time.Millisecond) //nolint:forbidigo // the bubble's clock
			n.Alive()
			n.Ready()
		}
		all := heard(said)
		require.Len(t, all, 6, "20 s of a minute")
		for _, m := range all {
			require.Equal(t, "WATCHDOG=1", m)
		}
		time.Sleep(10 * time.Minute) //nolint:forbidigo // the bubble's clock
		require.Empty(t, heard(said), "nobody said that it lives")
		n.Stopping()
		n.Stopping()
		n.Close()
		require.Equal(t, []string{"STOPPING=1"}, heard(said))
		n.Alive()
		n.Close()
		require.Empty(t, heard(said))
	})
}

// Without a watchdog nothing is fed, but a start that lives is still extended.
func TestWithoutAWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, said := managed(t, 0)
		n.Alive()
		require.Equal(t, []string{"EXTEND_TIMEOUT_USEC=60000000"}, heard(said))
		n.Ready()
		require.Equal(t, []string{"READY=1"}, heard(said))
		time.Sleep(time.Minute) //nolint:forbidigo // the bubble's clock
		n.Alive()
		require.Empty(t, heard(said))
		n.Close()
	})
}

// Who calls never waits for a service manager that does not read; what comes meanwhile is in the next message.
func TestNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		said := make(chan string, 10)
		n := newNotifier(zap.NewNop(), time.Second, func(message string) error {
			said <- message
			<-stuck
			return nil
		})
		go n.run()
		began := time.Now()
		n.Status("one")
		synctest.Wait()
		for i := range 100 {
			n.Status("number " + strconv.Itoa(i))
			n.Alive()
		}
		n.Ready()
		require.Zero(t, time.Since(began))
		n.Close()
		require.Equal(t, lastWithin, time.Since(began), "the end does not wait for long either")
		require.Equal(t, []string{"STATUS=one"}, heard(said))
		close(stuck)
		require.Equal(t, []string{"READY=1\nSTATUS=number 99\nWATCHDOG=1"}, heard(said))
	})
}

// Text from elsewhere (an error, a queue's name) stays one line of bounded length.
func TestStatusIsOneLine(t *testing.T) {
	require.Equal(t, "a WATCHDOG=trigger b", line("a\nWATCHDOG=trigger\x00b"))
	require.Equal(t, "\uFFFD", line("\xff"))
	long := line(strings.Repeat("é", longestStatus))
	require.Len(t, long, longestStatus+len("…"))
}

// A failure is logged once.
func TestComplainsOnce(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	n := newNotifier(zap.New(core), time.Second, func(string) error { return errors.New("no such socket") })
	go n.run()
	n.Ready()
	n.Stopping()
	n.Close()
	require.Equal(t, 1, logs.Len())
	require.Contains(t, logs.All()[0].Message, "could not report")
}

// By way of the real library and a real socket, as the environment says.
func TestEnvironment(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	require.Nil(t, New(zap.NewNop()))
	at := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
	require.NoError(t, err)
	defer func() { _ = socket.Close() }()
	t.Setenv("NOTIFY_SOCKET", at)
	t.Setenv("WATCHDOG_USEC", "2000000")
	n := New(zap.NewNop())
	require.Equal(t, 2*time.Second, n.period)
	n.Ready()
	n.Close()
	buffer := make([]byte, 100)
	size, err := socket.Read(buffer)
	require.NoError(t, err)
	require.Equal(t, "READY=1", string(buffer[:size]))

	t.Setenv("WATCHDOG_PID", "1")
	n = New(zap.NewNop())
	require.False(t, n.watch, "the watchdog is another process's")
	n.Close()
	t.Setenv("WATCHDOG_PID", "")
	t.Setenv("WATCHDOG_USEC", "soon")
	core, logs := observer.New(zap.DebugLevel)
	n = New(zap.New(core))
	n.Close()
	require.Equal(t, 1, logs.Len())
}
