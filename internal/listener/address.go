package listener

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// loopback is what a port without a host is bound to. Go's own rule, all interfaces, is one that nobody should get by
// leaving something out.
const loopback = "127.0.0.1"

// ParseAddress reads the value of --listen: a port (9187 or :9187), which means 127.0.0.1, or host:port, which means that
// host, 0.0.0.0:9187 and [::]:9187 all interfaces. Port 0 is any free one.
func ParseAddress(value string) (string, error) {
	host, port := "", strings.TrimPrefix(value, ":")
	if strings.Contains(port, ":") {
		var err error
		if host, port, err = net.SplitHostPort(value); err != nil {
			return "", fmt.Errorf("%q is no address: use a port, or host:port, like 127.0.0.1:9187 or [::1]:9187", value)
		}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%q has no port from 0 to 65535: use for example 9187 or 127.0.0.1:9187", value)
	}
	if host == "" {
		host = loopback
	}
	return net.JoinHostPort(host, port), nil
}

// BindEvery is the time between two tries of Listen in a running daemon.
const BindEvery = 3 * time.Second

// Listen opens an address that ParseAddress returned. While it cannot be had it tries again, every so often, until ctx ends,
// and returns the error of ctx then: somebody else's socket is no reason to leave the counters alone. The first failure is
// logged.
func Listen(ctx context.Context, address string, every time.Duration, log *zap.Logger) (net.Listener, error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for told := false; ; {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err == nil {
			return l, nil
		}
		if !told && ctx.Err() == nil {
			told = true
			log.Error("cannot listen, so page and metrics are not served; the counters are still corrected; trying again; "+
				"free the address, or restart with another --listen", zap.String("address", address), zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("listen on %s: %w", address, ctx.Err())
		case <-tick.C:
		}
	}
}

// isLoopback reports whether only this machine reaches an address.
func isLoopback(a net.Addr) bool {
	at, err := netip.ParseAddrPort(a.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// known reports whether a request's Host header can have been meant for a listener on loopback: an address, or localhost. A
// name that somebody else's server gave out is not.
func known(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host, _ = strings.CutSuffix(inner, "]")
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true // browsers always send one
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}
