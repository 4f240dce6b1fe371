// Package listener answers HTTP for a running daemon: /metrics for Prometheus, /healthz and /readyz for supervisors,
// /status.json for programs, and / for the person on call.
//
// Invariants:
//   - Nothing here makes the daemon wait. Handlers read views, which the daemon publishes through an atomic pointer and
//     never changes; what the daemon calls (Meter) only adds to histograms, which takes no lock.
//   - What clients can use up is bounded: connections, the time that each may take, the size of what is kept.
//     Answers that cost something to make are made at most once a second, for all who ask.
//   - Nothing is changed by a request: GET and HEAD only. The one thing that a request reaches outside of this process is
//     a reading of the database for /status.json and the page, at most one in five seconds, on a connection of its own.
//   - No secret is shown. What is shown comes from views and from the database; pprof's command line is left out, since
//     a URL with a password may be in it.
//   - Bound to loopback, only requests for a loopback name or a numeric address are answered: a page on the
//     Internet whose name is made to resolve to 127.0.0.1 gets nothing.
package listener
