package e2e

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/handbook"
	"github.com/awa-counterd/awa-counterd/e2e/monitor"
	"github.com/awa-counterd/awa-counterd/e2e/proxy"
)

const (
	alertRules = "../deploy/prometheus/awa-counterd.rules.yml"
	upgradeDay = "../deploy/prometheus/upgrade-over.rules.yml"
	dashboard  = "../deploy/grafana/awa-counterd.json"

	scraped = 250 * time.Millisecond
	waited  = 1500 * time.Millisecond // in the place of each for: of the rules
)

// prometheus finds the binary. Where AWACD_TOOLS=required, as in CI, a missing one is a failure.
func prometheus(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		require.NotEqual(t, "required", os.Getenv("AWACD_TOOLS"), "prometheus is not here")
		t.Skip("prometheus is not here")
	}
	return path
}

// watched is a pair of daemons, each on a port of its own, and a Prometheus that scrapes them and has the rules that are shipped.
type watched struct {
	*env
	p     *monitor.Prometheus
	ports [2]string
	calm  time.Time // since when nothing may fire but what is broken
	fired []string  // what has to have fired since, and nothing else
}

// member starts one of the pair.
func (w *watched) member(i int, url string) (*daemon, *web) {
	w.t.Helper()
	d := start(w.t, nil, "run", "--database-url", url, "--listen", w.ports[i], "--max-staleness", "3s", "--audit-interval", "1s",
		"--checkpoint-interval", "200ms", "--max-retained-wal", "96MiB")
	d.logged("listening", 10*time.Second)
	return d, &web{t: w.t, base: "http://" + w.ports[i] + "/", client: &http.Client{Timeout: 3 * time.Second}}
}

func (w *watched) query(expr string) []monitor.Series {
	w.t.Helper()
	all, err := w.p.Query(context.Background(), expr)
	require.NoError(w.t, err)
	return all
}

// alerts are the names of those that fire, or (ever) have fired since all was calm.
func (w *watched) alerts(ever bool) []string {
	w.t.Helper()
	expr := `ALERTS{alertstate="firing"}`
	if ever {
		expr = fmt.Sprintf(`max_over_time(ALERTS{alertstate="firing"}[%ds])`, max(1, int(time.Since(w.calm).Seconds())))
	}
	names := make(map[string]bool)
	for _, s := range w.query(expr) {
		names[s.Labels["alertname"]] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// eventually asks five times a second: each question costs Prometheus something.
func (w *watched) eventually(complaint string, ok func() bool) {
	w.t.Helper()
	late := time.After(45 * time.Second)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-late:
			require.FailNow(w.t, complaint, "firing: %v; ever: %v\n%s", w.alerts(false), w.alerts(true), w.p.Log())
		case <-tick.C:
		}
	}
}

// fires waits until these alerts have fired. Nothing but these and those of the steps before may have.
func (w *watched) fires(names ...string) {
	w.t.Helper()
	w.fired = append(w.fired, names...)
	w.eventually(fmt.Sprintf("%v did not fire", names), func() bool {
		ever := w.alerts(true)
		return !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(ever, n) })
	})
	require.ElementsMatch(w.t, w.fired, w.alerts(true))
}

// ends waits until an alert does not fire any more.
func (w *watched) ends(names ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%v did not end", names), func() bool {
		now := w.alerts(false)
		return !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(now, n) })
	})
}

// Every alert that is shipped fires when what it is for is broken, in a real Prometheus that scrapes a real pair of daemons, and none
// fires while all is well. Only the waits are shorter than shipped, 5,000 transactions stand for 50 million, and the day on which the
// upgrade ought to be over is long gone.
func TestAlerts(t *testing.T) {
	program := prometheus(t)
	c, err := cluster.Start(t.Context(), cluster.Options{Bin: pgBin, Settings: map[string]string{"max_wal_size": "64MB", "min_wal_size": "32MB"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	hole, err := proxy.New(c.Address())
	require.NoError(t, err)
	t.Cleanup(hole.Close)
	w := &watched{env: newEnvOn(t, c, fleet.Layout{Shape: fleet.Ledger, Slots: 4})}
	for i := range w.ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		w.ports[i] = l.Addr().String()
		require.NoError(t, l.Close())
	}
	through := "postgres://postgres@" + hole.Addr() + "/" + w.db + "?sslmode=disable"
	leader, first := w.member(0, through)
	w.marker(true, 20*time.Second)
	standing, second := w.member(1, w.url())
	second.becomes(true, "standby", 10*time.Second)

	w.p, err = monitor.Start(t.Context(), monitor.Options{
		Binary: program, Rules: []string{alertRules, upgradeDay}, Every: scraped, Jobs: map[string][]string{"awa-counterd": w.ports[:]},
		Edit: func(rules string) string {
			return strings.NewReplacer("vector(4102444800)", "vector(1)", "> 50e6", "> 5000").Replace(monitor.Shortened(rules, waited))
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.p.Close() })

	// Prometheus takes seconds to find its targets, and until then says that nobody leads.
	w.eventually("Prometheus does not find the daemons", func() bool { return len(w.query(`up == 1`)) == 2 && len(w.alerts(false)) == 0 })
	w.calm = time.Now()

	// Calm: new binaries are at work.
	f := w.fleet(fleet.Config{Post: 2, Pause: 20 * time.Millisecond, Fold: 500 * time.Millisecond, Prune: 300 * time.Millisecond, OldLeads: -1, Seed: 501})
	w.eventually("Prometheus does not evaluate the rules", func() bool {
		evaluated := w.query(`count_over_time(awa_counterd:upgrade_over:timestamp_seconds[1h]) > 30 and awa_counterd:upgrade_over:timestamp_seconds == 1`)
		seen := w.query(`count_over_time(awa_counterd_lag_seconds[1h]) > 30`)
		return len(evaluated) == 1 && len(seen) == 1
	})
	f.Stop()
	require.Empty(t, f.Errors())
	w.fires() // nothing

	// One of the two is gone.
	standing.kill()
	w.fires("AwaCounterdDown")
	standing, second = w.member(1, w.url())
	second.becomes(true, "standby", 10*time.Second)
	w.ends("AwaCounterdDown")

	// The stream stands still, and nothing else does.
	sender := int(w.scalar(`select active_pid from pg_replication_slots where active`))
	require.NoError(t, syscall.Kill(sender, syscall.SIGSTOP))
	w.fires("AwaCounterdLag", "AwaCounterdUntrusted")
	require.NoError(t, syscall.Kill(sender, syscall.SIGCONT))
	w.ends("AwaCounterdLag", "AwaCounterdUntrusted")

	// A long transaction holds the replication slot back while WAL is written.
	holder, err := w.pool.Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = holder.Rollback(context.Background()) })
	_, err = holder.Exec(t.Context(), `create table held (i int)`)
	require.NoError(t, err)
	for range 4 { // more than a quarter, and less than half
		w.exec(`select pg_logical_emit_message(false, 'filler', repeat('x', 8000000))`)
		w.exec(`checkpoint`)
	}
	w.fires("AwaCounterdRetainedWAL")
	w.exec(`create table burned (i int)`)
	w.exec(`do $$ begin for i in 1..6000 loop begin insert into burned values (i); exception when others then null; end; end loop; end $$`) // a transaction each
	w.fires("AwaCounterdCatalogsHeldBack")
	require.NoError(t, holder.Rollback(t.Context()))
	w.eventually("the slot does not go on", func() bool {
		w.exec(`checkpoint`) // tells the slot that nothing is open any more
		now := w.alerts(false)
		return !slices.Contains(now, "AwaCounterdRetainedWAL") && !slices.Contains(now, "AwaCounterdCatalogsHeldBack")
	})

	// Old binaries write, and lead.
	w.insertAt(1, "email", 5, false)
	require.Eventually(t, func() bool { // it gives up when it meets a scan
		old := w.layout.Writer(false)
		return fleet.Do(t.Context(), w.pool, func(tx pgx.Tx) error { return old.Prune(t.Context(), tx, 3) }) == nil
	}, 10*time.Second, 50*time.Millisecond)
	w.balanced(5 * time.Second)
	w.fires("AwaCounterdOldBinariesStillWrite", "AwaCounterdOldBinaryStillLeads")
	w.everythingNamed(first, second)

	// Nobody leads.
	require.Zero(t, standing.stop())
	require.Zero(t, leader.stop())
	w.fires("AwaCounterdNobodyLeads")

	// The books are wrong: somebody has falsified them.
	require.Positive(t, w.scalar(`with f as (update awa_counterd.books set rows = rows + 1 where rows > 0 returning 1) select count(*) from f`))
	leader, first = w.member(0, through)
	w.fires("AwaCounterdBooksWereWrong")
	first.becomes(true, "leading", 20*time.Second)
	w.ends("AwaCounterdNobodyLeads")
	w.balanced(3 * time.Second)

	// Trust that does not last.
	for range 4 {
		w.exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'awa-counterd%'`)
		w.marker(false, 10*time.Second)
		w.marker(true, 30*time.Second)
	}
	w.fires("AwaCounterdTrustUnsteady")
	require.Zero(t, leader.stop())

	all, err := monitor.Rules(alertRules)
	require.NoError(t, err)
	for _, r := range all {
		require.Contains(t, w.fired, r.Alert)
	}
}

// everythingNamed looks for each metric that rules, dashboard and pages name, and each value of a label that rules and dashboard ask
// for, in what the two daemons answer; and has Prometheus answer each question of the dashboard.
func (w *watched) everythingNamed(daemons ...*web) {
	w.t.Helper()
	served := make(map[string]map[string]map[string]bool) // values by metric and label
	require.Eventually(w.t, func() bool {
		for _, d := range daemons {
			for name, f := range d.metrics() {
				if served[name] == nil {
					served[name] = make(map[string]map[string]bool)
				}
				for _, m := range f.GetMetric() {
					for _, l := range m.GetLabel() {
						if served[name][l.GetName()] == nil {
							served[name][l.GetName()] = make(map[string]bool)
						}
						served[name][l.GetName()][l.GetValue()] = true
					}
				}
			}
		}
		return served["awa_counterd_last_old_prune_timestamp_seconds"] != nil && served["awa_counterd_last_uncounted_write_timestamp_seconds"] != nil
	}, 10*time.Second, 200*time.Millisecond, "what is there only after something has happened")

	var shipped []monitor.Expression
	for _, path := range []string{alertRules, upgradeDay} {
		rules, err := monitor.Rules(path)
		require.NoError(w.t, err)
		for _, r := range rules {
			shipped = append(shipped, monitor.Expression{Where: r.Alert + r.Record, Text: r.Expr})
			for _, text := range r.Annotations {
				shipped = append(shipped, monitor.Expression{Where: r.Alert, Text: text})
			}
		}
	}
	board, err := monitor.Dashboard(dashboard)
	require.NoError(w.t, err)
	shipped = append(shipped, board.Expressions()...)
	pages, err := handbook.Pages("..")
	require.NoError(w.t, err)
	for _, p := range pages {
		for _, span := range p.Spans() {
			shipped = append(shipped, monitor.Expression{Where: p.Path, Text: strings.ReplaceAll(span, `\|`, `|`)}) // in a table
		}
	}
	named := 0
	for _, x := range shipped {
		for _, u := range monitor.Uses(x.Text) {
			if strings.HasPrefix(u.Metric, "awa_counterd_awa") { // a publication
				continue
			}
			require.Contains(w.t, served, u.Metric, "%s names it: %s", x.Where, x.Text)
			named++
			for label, values := range u.Labels {
				for _, v := range values {
					if label != "job" && label != "instance" {
						require.True(w.t, served[u.Metric][label][v], "%s: %s has no %s=%q", x.Where, u.Metric, label, v)
					}
				}
			}
		}
	}
	require.Greater(w.t, named, 100)
	w.t.Logf("%d names in what is shipped, %d metrics served", named, len(served))

	variables := strings.NewReplacer("$__rate_interval", "30s", "$__range", "10m", "$job", "awa-counterd")
	for _, x := range board.Expressions() {
		require.NotEmpty(w.t, w.query(variables.Replace(x.Text)), "%s: %s", x.Where, x.Text)
	}
}
