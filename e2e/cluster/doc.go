// Package cluster starts throwaway PostgreSQL servers for the tests, the demo and the benchmarks:
// each in a directory of its own, never as root, gone when it is closed.
package cluster
