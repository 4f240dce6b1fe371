package listener

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
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

// An address that somebody else has is tried again until it is free; that is logged once.
func TestListenWaitsForTheAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	core, logs := observer.New(zap.InfoLevel)
	tries := make(chan struct{}, 100)
	log := zap.New(core, zap.Hooks(func(zapcore.Entry) error { tries <- struct{}{}; return nil }))
	got := make(chan net.Listener, 1)
	go func() {
		l, _ := Listen(t.Context(), taken.Addr().String(), time.Millisecond, log)
		got <- l
	}()
	<-tries
	require.Equal(t, zap.ErrorLevel, logs.All()[0].Level)
	require.Contains(t, logs.All()[0].ContextMap()["error"], "address already in use")
	select {
	case <-got:
		t.Fatal("two have one address")
	case <-time.After(50 * time.Millisecond): // some dozens of tries
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Listen(ctx, taken.Addr().String(), time.Hour, log)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, taken.Close())
	l := <-got
	require.NotNil(t, l)
	require.NoError(t, l.Close())
	require.Equal(t, 1, logs.Len())
}
