package replication

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// These calls return at once, so Go's scheduler is not told of them: in a process that was idle its watching thread wakes up for every
// system call that it is told of, and stays awake for some 100 µs, which costs more than the call.

// readNow reads what is there from a non-blocking file descriptor.
func readNow(fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p))) //nolint:gosec // for a system call
	return result(n, errno)
}

// eventNow asks an epoll instance for an event that is there.
func eventNow(instance int, event *unix.EpollEvent) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(instance), uintptr(unsafe.Pointer(event)), 1, 0, 0, 0) //nolint:gosec // for a system call
	return result(n, errno)
}

func result(n uintptr, errno syscall.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
