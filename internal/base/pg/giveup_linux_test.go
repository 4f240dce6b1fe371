package pg

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Every connection over TCP gives up what stays unacknowledged for 25 s. The hole in the network itself takes a network namespace or
// a packet filter, which an ordinary user does not have; the kernel's part is taken for granted.
func TestUnacknowledgedIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	src, err := ParseSource("postgres://u@" + l.Addr().String() + "/d")
	require.NoError(t, err)
	for _, dial := range []func() (net.Conn, error){
		func() (net.Conn, error) {
			return src.Config(Settings{}).DialFunc(t.Context(), "tcp", l.Addr().String())
		},
		func() (net.Conn, error) {
			return src.ReplicationConfig().DialFunc(t.Context(), "tcp", l.Addr().String())
		},
	} {
		c, err := dial()
		require.NoError(t, err)
		raw, err := c.(*net.TCPConn).SyscallConn()
		require.NoError(t, err)
		var after int
		require.NoError(t, raw.Control(func(fd uintptr) {
			after, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		}))
		require.NoError(t, err)
		require.Equal(t, 25*time.Second, time.Duration(after)*time.Millisecond)
		require.NoError(t, c.Close())
	}
}
