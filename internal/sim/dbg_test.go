package sim

import "testing"

func TestDbg(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.fleet.honest, s.fleet.rarely = true, false
		s.start()
		for range 1200 {
			s.step(false)
		}
		s.quiesce()
		s.fleet.short = 1
		s.until("no prune keeps anything to itself", func() bool { return s.done.short > 0 })
		s.fleet.short, s.planted = 0, 1
		for _, r := range s.wal {
			if r.end == 0xED8 {
				t.Log(r.end, r.xid, r.totals, r.truncated, r.short)
			}
		}
		for range 200 {
			s.step(false)
		}
		t.Log(s.core.Status(s.now), s.core.Position(), s.core.Notices())
	})
}
