package listener

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/daemon"
)

// Whether a daemon is ready, and which conditions fail when it is not.
func TestReadiness(t *testing.T) {
	now := time.Now()
	lagging := untrustedView(now, applier.DoubtLag, "the stream is 3s behind")
	lagging.Status.Lag = 3 * time.Second
	hung := leads(now.Add(-time.Minute))
	off := untrustedView(now, applier.DoubtOff, "trust is off")
	lost := standsByView(now.Add(-time.Hour), time.Second)
	for name, c := range map[string]struct {
		view    *daemon.View
		role    string
		failing []string
		says    string
	}{
		"trusted":       {leads(now), "leading", nil, "of 2s allowed"},
		"trust is lost": {untrustedView(now, applier.DoubtAuditing, "auditing: the books agree with a second scan in 3 of 17 ring slots"), "leading", []string{"trust"}, "in 3 of 17 ring slots"},
		"behind":        {lagging, "leading", []string{"lag", "trust"}, "3s behind at most"},
		"hangs":         {hung, "leading", []string{"streaming", "lag", "trust"}, "main loop is overdue by 59"},
		"trust off":     {off, "leading", nil, "trust is off; that is what --trust asks for"},
		"standby":       {standsByView(now, time.Second), "standby", nil, "db1 pid 4711"},
		"lost standby":  {lost, "standby", []string{"standing_by"}, "has not looked for the leader for 1h"},
		"failing":       {failing(now, "connection refused"), "failing", []string{"streaming", "lag", "trust"}, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newRig(t, c.view).get("/readyz")
			var got Readiness
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
			require.Equal(t, c.role, got.Role)
			require.Equal(t, len(c.failing) == 0, got.Ready)
			require.ElementsMatch(t, c.failing, got.Failing)
			require.NotNil(t, got.Failing)
			require.Contains(t, w.Body.String(), c.says)
			want := http.StatusOK
			if len(c.failing) > 0 {
				want = http.StatusServiceUnavailable
			}
			require.Equal(t, want, w.Code)
		})
	}
}

// The process is healthy whatever becomes of its work, unless its loop hangs: then a new one would be better.
func TestHealth(t *testing.T) {
	now := time.Now()
	for _, v := range []*daemon.View{leads(now), standsByView(now, time.Hour), failing(now, "no route to host"), leads(now.Add(-30 * time.Second)), failing(now.Add(-time.Hour), "x")} {
		require.Equal(t, http.StatusOK, newRig(t, v).get("/healthz").Code)
	}
	w := newRig(t, leads(now.Add(-2*time.Minute))).get("/healthz")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Contains(t, w.Body.String(), "the daemon hangs")
}
