// Package e2e tests awa-counterd as its users run it: the real binary, against a real PostgreSQL
// server, beside a fleet that imitates awa's binaries (e2e/fleet). The oracle is always a scan of
// rows and counters in one snapshot.
package e2e
