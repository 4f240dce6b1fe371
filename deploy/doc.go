// Package deploy has no code, only the files that an operator takes, and tests that hold them against the product and against
// their own tools (promtool, systemd-analyze). What a running daemon says to them is tested in e2e (TestAlerts), and what
// Kubernetes and Compose understand of them in the module below check.
//
// Invariants: every metric, label and value that a file names is one that the daemon serves; every alert has a test, and
// fires in one.
package deploy
