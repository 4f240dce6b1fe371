package replication

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pairs are both ends of a connection on each kind of socket; ours is taken over.
func pairs(t *testing.T, test func(t *testing.T, ours *direct, theirs net.Conn)) {
	t.Helper()
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			l, err := (&net.ListenConfig{}).Listen(t.Context(), network, address)
			require.NoError(t, err)
			before := descriptors(t) - 1 // without the listener
			dialled, err := (&net.Dialer{}).DialContext(t.Context(), network, l.Addr().String())
			require.NoError(t, err)
			theirs, err := l.Accept()
			require.NoError(t, err)
			require.NoError(t, l.Close())
			ours, ok := newDirect(dialled, gather).(*direct)
			require.True(t, ok)
			test(t, ours, theirs)
			_ = theirs.Close()
			_ = ours.Close()
			require.ErrorIs(t, ours.Close(), net.ErrClosed)
			require.Equal(t, before, descriptors(t), "file descriptors are left")
		})
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(all)
}

func TestDirectCarriesEverything(t *testing.T) {
	pairs(t, func(t *testing.T, ours *direct, theirs net.Conn) {
		sent := make([]byte, 8<<20)
		r := rand.New(rand.NewPCG(1, 2))
		for i := range sent {
			sent[i] = byte(r.Uint32())
		}
		fail := make(chan error, 2)
		go func() { // back and forth at once: what is sent here comes back
			_, err := io.Copy(struct{ io.Writer }{theirs}, struct{ io.Reader }{theirs}) // no splice, which keeps pipes
			fail <- err
		}()
		go func() {
			for rest := sent; len(rest) > 0; {
				n := min(len(rest), 1+r.IntN(100_000))
				if _, err := ours.Write(rest[:n]); err != nil {
					fail <- err
					return
				}
				rest = rest[n:]
			}
		}()
		got := make([]byte, len(sent))
		_, err := io.ReadFull(ours, got)
		require.NoError(t, err)
		require.Equal(t, sent, got)
		require.NoError(t, theirs.Close())
		_, err = ours.Read(got)
		require.Error(t, err, "the other end is gone")
		<-fail
	})
}

// Each of these ends a Read that waits: a deadline that was set before, one that is set meanwhile, and Close. The latter two end a rest
// before it as well.
func TestDirectReadEnds(t *testing.T) {
	pairs(t, func(t *testing.T, ours *direct, theirs net.Conn) {
		buf := make([]byte, 10)
		require.NoError(t, ours.SetReadDeadline(time.Now().Add(30*time.Millisecond)))
		_, err := ours.Read(buf)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		ended := make(chan error)
		ours.gather = time.Hour
		for _, rests := range []struct{ quick, rare int }{{}, {quick: brisk}, {rare: brisk}} {
			require.NoError(t, ours.SetDeadline(time.Time{}))
			go func() {
				ours.quick, ours.rare = rests.quick, rests.rare
				ours.rest(time.Hour)
				_, err := ours.Read(buf)
				ended <- err
			}()
			if rests.quick == 0 { // who rests between quick messages does not park
				parksForLong(t)
			}
			require.NoError(t, ours.SetDeadline(time.Unix(1, 0)))
			require.ErrorIs(t, within(t, ended), os.ErrDeadlineExceeded)
		}
		require.NoError(t, ours.SetDeadline(time.Time{}))
		_, err = theirs.Write([]byte("abc"))
		require.NoError(t, err)
		n, err := ours.Read(buf)
		require.NoError(t, err)
		require.Equal(t, "abc", string(buf[:n]), "what had been set is over")
		go func() {
			ours.rare = brisk
			ours.rest(0)
			_, err := ours.Read(buf)
			ended <- err
		}()
		parksForLong(t)
		require.NoError(t, ours.Close())
		require.ErrorIs(t, within(t, ended), net.ErrClosed)
	})
}

// Who waits for rare messages waits in Go's network poller, also when they have been frequent before: a thread that waits in the
// kernel keeps Go's scheduler busy.
func TestDirectParksWhenMessagesAreRare(t *testing.T) {
	pairs(t, func(t *testing.T, ours *direct, theirs net.Conn) {
		buf := make([]byte, 1)
		ended := make(chan error)
		read := func() {
			go func() { _, err := ours.Read(buf); ended <- err }()
			parksForLong(t)
		}
		for _, frequent := range []int{0, 2 * brisk} {
			for range frequent {
				_, err := theirs.Write([]byte{1})
				require.NoError(t, err)
				_, err = ours.Read(buf)
				require.NoError(t, err)
			}
			read()
			_, err := theirs.Write([]byte{1})
			require.NoError(t, err)
			require.NoError(t, within(t, ended))
		}
		require.Zero(t, ours.quick, "it was long in coming")
		ours.rest(time.Hour)
		require.False(t, ours.gathered, "there is nothing to gather")
		read()
		require.NoError(t, ours.SetReadDeadline(time.Now().Add(time.Millisecond)))
		require.ErrorIs(t, within(t, ended), os.ErrDeadlineExceeded, "one that is set meanwhile ends it")
	})
}

// gather is longer than fill, so that a rest of the one kind is told from one of the other.
const gather = 5 * fill

// answers are what theirs writes, as ours reads it.
type answers struct {
	t      *testing.T
	ours   *direct
	theirs net.Conn
}

func (a answers) send(n int) {
	a.t.Helper()
	_, err := a.theirs.Write(make([]byte, n))
	require.NoError(a.t, err)
}

func (a answers) read(n int) {
	a.t.Helper()
	for buf := make([]byte, readSize); n > 0; {
		got, err := a.ours.Read(buf)
		require.NoError(a.t, err)
		n -= got
	}
	require.Zero(a.t, n)
}

// late sends a byte that has been waited for longer than fill.
func (a answers) late() {
	a.t.Helper()
	ended := make(chan error)
	go func() { _, err := a.ours.Read(make([]byte, 1)); ended <- err }()
	parksForLong(a.t)
	a.send(1)
	require.NoError(a.t, within(a.t, ended))
}

// gathers reports whether the next rest is for what is rare.
func (a answers) gathers() bool {
	began := time.Now()
	a.ours.rest(time.Microsecond)
	if a.ours.gathered {
		require.GreaterOrEqual(a.t, time.Since(began), gather)
	}
	return a.ours.gathered
}

// The messages of a transaction come one by one. Where transactions are rare they are gathered before the next read, so that they wake
// nobody; once there is much to read, that is not waited for: a socket may hold no more.
func TestDirectGathersWhatIsRare(t *testing.T) {
	pairs(t, func(t *testing.T, ours *direct, theirs net.Conn) {
		a := answers{t, ours, theirs}
		for range brisk {
			require.False(t, a.gathers(), "they have not been rare for long")
			a.late()
			for range 2 * brisk { // of a transaction that came by itself
				a.send(1)
				a.read(1)
			}
		}
		for range 2 * brisk {
			require.True(t, a.gathers())
			a.send(3)
			a.read(3)
		}
		require.True(t, a.gathers())
		a.send(much)
		a.read(much)
		require.False(t, a.gathers(), "there is much")
		for range brisk - 1 {
			a.late()
			require.False(t, a.gathers(), "there has been much lately")
		}
		for range 2 * brisk {
			a.send(much / brisk)
			a.read(much / brisk)
		}
		a.late()
		require.False(t, a.gathers(), "there was much before that one")
	})
}

// What comes meanwhile does not end it, not even where a wait for it ended before it came.
func TestDirectGathersForItsTime(t *testing.T) {
	pairs(t, func(t *testing.T, ours *direct, theirs net.Conn) {
		a := answers{t, ours, theirs}
		for range 2 {
			require.NoError(t, ours.SetReadDeadline(time.Now().Add(2*fill)))
			_, err := ours.Read(make([]byte, 1))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.NoError(t, ours.SetReadDeadline(time.Time{}))
			ours.rare = brisk
			a.send(1)
			require.True(t, a.gathers())
			a.read(1)
		}
	})
}

// parksForLong waits until a goroutine has been parked for longer than fill.
func parksForLong(t *testing.T) {
	t.Helper()
	require.Eventually(t, parked, 10*time.Second, time.Millisecond)
	waited := time.Now()
	require.Eventually(t, func() bool { return time.Since(waited) > fill }, 10*time.Second, time.Millisecond)
}

// parked reports that a goroutine waits for a socket in the poller.
func parked() bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for g := range strings.SplitSeq(string(stacks), "\n\n") {
		first, _, _ := strings.Cut(g, "\n")
		if strings.Contains(first, "[IO wait") && strings.Contains(g, "(*parking).wait") {
			return true
		}
	}
	return false
}

// A Write against somebody who does not read ends at its deadline, be it set before or meanwhile.
func TestDirectWriteEnds(t *testing.T) {
	pairs(t, func(t *testing.T, ours *direct, _ net.Conn) {
		much := make([]byte, 64<<20)
		require.NoError(t, ours.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
		_, err := ours.Write(much)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, ours.SetWriteDeadline(time.Time{}))
		ended := make(chan error)
		go func() { _, err := ours.Write(much); ended <- err }()
		require.NoError(t, ours.SetDeadline(time.Unix(1, 0)))
		require.ErrorIs(t, within(t, ended), os.ErrDeadlineExceeded)
	})
}

func within(t *testing.T, c <-chan error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	select {
	case err := <-c:
		return err
	case <-ctx.Done():
		require.Fail(t, "it goes on")
		return nil
	}
}
