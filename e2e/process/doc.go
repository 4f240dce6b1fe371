// Package process runs the real binary as a supervisor would, and reads what it logs.
package process
