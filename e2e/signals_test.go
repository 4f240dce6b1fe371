package e2e

import "syscall"

const (
	stopped = syscall.SIGSTOP
	resumed = syscall.SIGCONT
)
