package listener

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// A port by itself is bound to loopback; all interfaces have to be asked for.
func TestParseAddress(t *testing.T) {
	for value, want := range map[string]string{
		"9187": "127.0.0.1:9187", ":9187": "127.0.0.1:9187", "0": "127.0.0.1:0", "0.0.0.0:9187": "0.0.0.0:9187", "[::]:9187": "[::]:9187",
		"[::1]:1": "[::1]:1", "localhost:80": "localhost:80", "db1.example.org:80": "db1.example.org:80",
	} {
		got, err := ParseAddress(value)
		require.NoError(t, err, value)
		require.Equal(t, want, got, value)
	}
	for _, value := range []string{"", ":", "localhost", "127.0.0.1", "::1", "::1:9187", "9187x", ":http", "65536", "-1", "http://127.0.0.1:9187", "[::1]", "1:2:3"} {
		_, err := ParseAddress(value)
		require.Error(t, err, value)
	}
}

func TestKnownHosts(t *testing.T) {
	for _, host := range []string{"", "localhost", "localhost:9187", "LOCALHOST:1", "app.localhost", "127.0.0.1", "127.0.0.1:9187", "[::1]:9187", "[::1]", "10.1.2.3:80", "localhost."} {
		require.True(t, known(host), host)
	}
	for _, host := range []string{"example.org", "example.org:9187", "localhost.example.org", "127.0.0.1.example.org:9187", "xlocalhost", "0x7f.1:80", "127.1", "a b", "[localhost.evil.example]:1"} {
		require.False(t, known(host), host)
	}
	for address, want := range map[string]bool{"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "[::ffff:127.0.0.1]:1": true, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false} {
		require.Equal(t, want, isLoopback(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))), address)
	}
}
