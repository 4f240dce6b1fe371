package listener

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/status"
)

func (r *rig) statusOf(t *testing.T) status.Status {
	t.Helper()
	w := r.get("/status.json")
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	var st status.Status
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields() // the shape of `status --json`, and nothing else
	require.NoError(t, d.Decode(&st))
	return st
}

// Where this daemon leads, what it knows itself goes before what its last checkpoint said.
func TestStatusIsLive(t *testing.T) {
	st := newRig(t, leads(time.Now())).statusOf(t)
	require.Equal(t, "0/1C76450", st.Position)
	require.True(t, st.Fresh)
	require.True(t, st.MarkerSet)
	require.Len(t, st.Uncounted, 2)
	require.Equal(t, "email", st.Uncounted[0].Queue, "newest first")
	require.Equal(t, "prune", st.Uncounted[0].Kind)
	require.InDelta(t, 1, st.Uncounted[0].Last, 0.9)
	require.EqualValues(t, 3<<20, st.Slot.Retained)
	require.EqualValues(t, 4096, st.Slot.Lag)
	require.InDelta(t, 60, *st.Audit, 2)
	require.Equal(t, "billing", st.Queues[0].Queue)
	require.Equal(t, "trusted", st.Leader.State)
	require.Contains(t, st.Next, "pre-#290 writers still active on queue billing; last", "email was pruned by an old leader, and not written")

	r := newRig(t, untrustedView(time.Now(), applier.DoubtScanning, "scanning: 3 of 17 ring slots done"))
	st = r.statusOf(t)
	require.False(t, st.MarkerSet)
	require.Nil(t, st.MarkerAge)
	require.Equal(t, "scanning: 3 of 17 ring slots done", st.Reason)
	require.Equal(t, st.Reason, st.Leader.State)
	r.stub.view.Store(leads(time.Now().Add(-time.Hour)))
	require.False(t, r.statusOf(t).Fresh, "figures of a loop that hangs are old")
}

// The fields are those of `status --json`, and a standby says what the database says, grown older.
func TestStatusOfAStandby(t *testing.T) {
	r := newRig(t, standsByView(time.Now(), time.Second))
	st := r.statusOf(t)
	want := someStatus()
	want.Next, st.Next = "", ""
	before := *want.Persisted
	require.InDelta(t, before, *st.Persisted, 1)
	for _, s := range []*status.Status{want, &st} { // ages are a little higher
		s.Persisted, s.Audit, s.MarkerAge, s.Uncounted[0].Last, s.Leader.Heartbeat = nil, nil, nil, 0, 0
	}
	require.Equal(t, *want, st)
}

// The leader is not asked by who only looks at a standby, so its figures decide nothing there; what is known is said.
func TestStandbyDoesNotDecide(t *testing.T) {
	st := someStatus()
	r := newRig(t, standsByView(time.Now(), time.Second), func(c *Config) {
		c.ReadStatus = func(context.Context) (*status.Status, error) { return st, nil }
	})
	require.Contains(t, r.statusOf(t).Next, "2 pre-#290 runtimes of version 0.6.0-beta.1 are live: replace them")
	quiet := *someStatus()
	quiet.Runtimes = nil
	st = &quiet
	r = newRig(t, standsByView(time.Now(), time.Second), func(c *Config) {
		c.ReadStatus = func(context.Context) (*status.Status, error) { return st, nil }
	})
	require.Contains(t, r.statusOf(t).Next, "look at the leader's page, or run awa-counterd status")
	require.NotContains(t, r.statusOf(t).Next, "see its log", "nobody has asked the daemon")
}

// What was read stays as it is: each answer is a copy, some seconds older.
func TestAged(t *testing.T) {
	st := someStatus()
	st.Changes = []status.MarkerChange{{Set: true, Ago: 5, Lasted: 5}, {Ago: 8, Lasted: 3}}
	out := aged(st, time.Minute)
	require.Equal(t, []status.MarkerChange{{Set: true, Ago: 65, Lasted: 65}, {Ago: 68, Lasted: 3}}, out.Changes)
	st.Changes = nil
	require.Equal(t, someStatus(), st)
	require.InDelta(t, 64, *out.Persisted, 0.01)
	require.InDelta(t, 9060, out.Uncounted[0].Last, 0.01)
	require.False(t, out.Leader.Alive)
	ages := 0
	for i := range reflect.TypeFor[status.Status]().NumField() {
		if f := reflect.ValueOf(*st).Field(i); f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.Float64 && !f.IsNil() {
			ages++
			require.InDelta(t, f.Elem().Float()+60, reflect.ValueOf(*out).Field(i).Elem().Float(), 0.01, reflect.TypeFor[status.Status]().Field(i).Name)
		}
	}
	require.Equal(t, 3, ages)
}

// However many ask, the database is read once in five seconds, by one at a time; and while it cannot be read, that is said.
func TestDatabaseIsReadSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		var failed error
		s := newReadings(func(ctx context.Context) (*status.Status, error) {
			reads++
			select {
			case <-time.After(300 * time.Millisecond):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return someStatus(), failed
		})
		ask := func(n int) {
			done := make(chan bool, n)
			for range n {
				go func() {
					st, _, _ := s.get(t.Context())
					done <- st != nil
				}()
			}
			for range n {
				require.True(t, <-done)
			}
		}
		ask(100)
		require.Equal(t, 1, reads)
		ask(100)
		require.Equal(t, 1, reads)
		time.Sleep(6 * time.Second) //nolint:forbidigo // the bubble's clock
		ask(100)
		require.Equal(t, 2, reads, "a read of 300 ms rests for six seconds")
		failed = errors.New("connection refused")
		time.Sleep(6 * time.Second) //nolint:forbidigo // the bubble's clock
		st, at, err := s.get(t.Context())
		require.NotNil(t, st)
		require.InDelta(t, 6.3, time.Since(at).Seconds(), 0.5)
		require.ErrorContains(t, err, "refused")
		s.wait()
	})
}

// Before the database was ever read there is no status; a reading that hangs ends by itself.
func TestStatusWithoutADatabase(t *testing.T) {
	r := newRig(t, failing(time.Now(), "connection refused"), func(c *Config) {
		c.ReadStatus = func(context.Context) (*status.Status, error) { return nil, errors.New("connection refused") }
	})
	w := r.get("/status.json")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Contains(t, w.Body.String(), "connection refused")
	synctest.Test(t, func(t *testing.T) {
		s := newReadings(func(ctx context.Context) (*status.Status, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		began := time.Now()
		st, _, err := s.get(t.Context())
		require.Nil(t, st)
		require.ErrorIs(t, err, errNotRead)
		require.Equal(t, firstWait, time.Since(began))
		s.wait()
		require.Equal(t, readWithin, time.Since(began))
	})
}
