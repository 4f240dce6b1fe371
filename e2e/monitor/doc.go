// Package monitor holds what deploy/ ships for watching the daemon against the daemon itself: it reads the expressions of
// alert rules and dashboards, finds the metrics that they name, and runs a real Prometheus on a copy of the rules whose
// waits are short.
//
// Invariants: it changes nothing of what is shipped; its Prometheus listens on loopback only, keeps its data in a
// temporary directory, and is gone when it is closed.
package monitor
