package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// authority is a certificate authority of a test.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string // what sslrootcert names
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a := &authority{t: t, key: key, cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, key.Public(), key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.file = filepath.Join(t.TempDir(), name+".pem")
	require.NoError(t, os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return a
}

// certify gives a server a certificate for a host name, good until some time from now.
func (a *authority) certify(c *cluster.Cluster, host string, good time.Duration) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(good),
	}, a.cert, key.Public(), a.key)
	require.NoError(a.t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(a.t, err)
	for name, block := range map[string]*pem.Block{"server.crt": {Type: "CERTIFICATE", Bytes: der}, "server.key": {Type: "PRIVATE KEY", Bytes: secret}} {
		path := filepath.Join(c.Data(), name)
		require.NoError(a.t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
		require.NoError(a.t, c.Own(path))
	}
}

// reload has the server read its files again, and waits until new connections are made by them.
func (e *env) reload() {
	e.t.Helper()
	loaded := func() (at time.Time) {
		conn, err := e.server.Connect(e.t.Context(), e.db) // a new one is told by whoever makes connections
		require.NoError(e.t, err)
		defer func() { _ = conn.Close(e.t.Context()) }()
		require.NoError(e.t, conn.QueryRow(e.t.Context(), `select pg_conf_load_time()`).Scan(&at))
		return at
	}
	before := loaded()
	e.exec(`select pg_reload_conf()`)
	require.Eventually(e.t, func() bool { return loaded().After(before) }, 10*time.Second, 10*time.Millisecond)
}

// The daemon and its commands with sslmode=verify-full, on a server that lets nobody in without TLS. Every connection is encrypted,
// the stream's too; a certificate that does not fit is named in one line, at the start, and later, when somebody renews it wrongly.
func TestTLS(t *testing.T) {
	c := ownServer(t)
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	ours.certify(c, "localhost", time.Hour)
	require.NoError(t, os.WriteFile(filepath.Join(c.Data(), "pg_hba.conf"), []byte("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"), 0o600))
	require.NoError(t, c.Configure("ssl", "on"))
	require.NoError(t, c.Down(t.Context(), "fast"))
	if err := c.Up(t.Context()); err != nil && strings.Contains(err.Error(), "SSL is not supported") {
		t.Skip("this server was built without TLS")
	} else {
		require.NoError(t, err)
	}
	e := newEnvOn(t, c, fleet.Layout{Slots: 4})
	e.exec(`create role app login superuser password 'hunter2'`)
	to := func(host, options string) string {
		u := url.URL{Scheme: "postgres", User: url.UserPassword("app", "hunter2"), Host: fmt.Sprintf("%s:%d", host, c.Port), Path: e.db, RawQuery: options}
		return u.String()
	}
	full := func(authority string) string { return "sslmode=verify-full&sslrootcert=" + url.QueryEscape(authority) }
	good := to("localhost", full(ours.file))

	d := start(t, nil, "run", "--database-url", good, "--listen", "0", "--audit-interval", "1s")
	d.logged("marker set", 20*time.Second)
	e.insertAt(1, "q", 5, false)
	e.balanced(3 * time.Second)
	require.GreaterOrEqual(t, e.scalar(`select count(*) from pg_stat_activity where application_name like 'awa-counterd %'`), int64(5))
	require.Equal(t, int64(1), e.scalar(`select count(*) from pg_stat_activity where application_name like 'awa-counterd %' and backend_type = 'walsender'`))
	require.Zero(t, e.scalar(`select count(*) from pg_stat_activity a join pg_stat_ssl s using (pid) where a.application_name like 'awa-counterd %' and not s.ssl`))
	for _, command := range [][]string{{"status"}, {"doctor"}, {"reconcile", "--check"}} {
		code, out, errs := e.commandOn(good, command...)
		require.Contains(t, []int{0, 3}, code, errs)
		require.NotContains(t, out+errs, "hunter2")
	}

	// A renewal that goes wrong: the daemon says so once, and goes on when it is mended.
	others.certify(c, "localhost", time.Hour)
	e.reload()
	e.exec(`select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'awa-counterd %'`)
	lost := func() int { return strings.Count(d.text(), "of an authority that this machine does not know") }
	require.Eventually(t, func() bool { return lost() > 0 }, 15*time.Second, 20*time.Millisecond)
	e.marker(true, 0) // nobody can clear it: the daemon cannot get in
	ours.certify(c, "localhost", time.Hour)
	e.reload()
	require.Eventually(t, func() bool { return strings.Count(d.text(), `"leading"`) == 2 }, 30*time.Second, 20*time.Millisecond)
	require.Equal(t, 1, lost(), d.text())
	e.insertAt(1, "q", 5, false)
	e.balanced(5 * time.Second)
	require.Zero(t, d.stop())
	require.NotContains(t, d.text(), "hunter2")

	for _, wrong := range []struct {
		name, url string
		change    func()
		wants     []string
	}{
		{"address instead of name", to("127.0.0.1", full(ours.file)), nil, []string{"cannot validate certificate for 127.0.0.1", "connect by a name that the certificate has"}},
		{"unknown authority", to("localhost", full(others.file)), nil, []string{"of an authority that this machine does not know", "sslrootcert"}},
		{"the system's authorities", to("localhost", "sslmode=verify-full"), nil, []string{"of an authority that this machine does not know", "sslrootcert"}},
		{"no such file", to("localhost", full("/nowhere/ca.pem")), nil, []string{"/nowhere/ca.pem"}},
		{"no TLS", to("localhost", "sslmode=disable"), nil, []string{"no encryption", "pg_hba.conf"}},
		{"another host's certificate", good, func() { ours.certify(c, "db.test", time.Hour) }, []string{"certificate is valid for db.test, not localhost", "have one made for this name"}},
		{"expired", good, func() { ours.certify(c, "localhost", -time.Minute) }, []string{"it has expired, or is not valid yet", "renew it"}},
	} {
		t.Run(wrong.name, func(t *testing.T) {
			if wrong.change != nil {
				wrong.change()
				e.reload()
				t.Cleanup(func() { ours.certify(c, "localhost", time.Hour); e.reload() })
			}
			d := start(t, nil, "run", "--database-url", wrong.url)
			require.NotZero(t, d.wait(15*time.Second)) // it refuses
			require.NotContains(t, d.text(), "leading")
			code, out, errs := e.commandOn(wrong.url, "status")
			require.NotZero(t, code)
			require.Empty(t, out)
			require.Equal(t, 1, strings.Count(strings.TrimSpace(errs), "\n")+1, errs)
			require.True(t, strings.HasPrefix(errs, "awa-counterd: "), errs)
			for _, want := range wrong.wants {
				require.Contains(t, d.text(), want)
				require.Contains(t, errs, want)
			}
			require.NotContains(t, d.text()+errs, "hunter2")
		})
	}
}
