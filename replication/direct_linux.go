package replication

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// direct is a socket that is read past Go's network poller while messages come in quick succession. The poller's
// thread is woken by every message that arrives, whether somebody waits for it or not, which costs both sides more
// than the messages do: a walsender sends each by itself. Here nobody is woken during a rest. Once messages are
// rare it is the other way round: Go's scheduler watches a thread that waits in the kernel, and wakes up for that some
// 50 times; so those are waited for in the poller, and the messages of a small transaction, which come one by one within
// some 100 µs, are gathered asleep, lest each wakes a thread that takes a processor from the server.
//
// One goroutine reads and writes; SetDeadline and Close may be called beside it.
type direct struct {
	net.Conn     // for its addresses; closed
	fd, wake int // wake is an eventfd that ends a wait
	quick    int // reads in a row that waited for less than fill, up to brisk
	rare     int // reads that waited for longer, since there was much to read, up to brisk
	since    int // bytes since the last that waited for longer
	gather   time.Duration
	gathered bool // the last rest was one of gather
	parked   *parking

	mu      sync.Mutex
	readBy  time.Time
	writeBy time.Time
	closed  bool
	users   sync.RWMutex // held for reading while fd and wake are in use
}

// newDirect takes a connection's socket over. Where that is not possible it returns the connection as it is. gather is for how long what
// is rare comes together, 0 for not at all.
func newDirect(c net.Conn, gather time.Duration) net.Conn {
	s, ok := c.(syscall.Conn)
	if !ok {
		return c
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return c
	}
	fd := -1
	if err := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || fd < 0 {
		return c
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(fd)
		return c
	}
	d := &direct{Conn: c, fd: fd, wake: wake, gather: gather}
	if d.parked, err = newParking(fd, wake); err != nil {
		_, _ = unix.Close(fd), unix.Close(wake)
		return c
	}
	_ = c.Close() // its file descriptor; the socket lives on in ours
	return d
}

const (
	// brisk is how many reads in a row have to be quick before the next is taken for another such: more than the messages of a
	// small transaction.
	brisk = 8
	// much is more than comes meanwhile where messages are rare, and less than a Unix socket holds of the smallest ones.
	much = 4 << 10
)

// Read is net.Conn's.
func (d *direct) Read(p []byte) (int, error) {
	d.users.RLock()
	defer d.users.RUnlock()
	var began time.Time // of waiting
	for {
		by, err := d.deadline(&d.readBy)
		if err != nil {
			return 0, err
		}
		n, err := readNow(d.fd, p)
		switch {
		case n > 0:
			d.noted(n, began)
			return n, nil
		case err == nil && len(p) > 0:
			return 0, io.EOF
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			now := time.Now()
			if began.IsZero() {
				began = now
			}
			if soon := began.Add(fill); d.quick == brisk && now.Before(soon) {
				if by.IsZero() || soon.Before(by) {
					by = soon
				}
				err = d.wait(by, unix.PollFd{Fd: int32(d.fd), Events: unix.POLLIN}, unix.PollFd{Fd: int32(d.wake), Events: unix.POLLIN}) //nolint:gosec // a file descriptor
			} else {
				err = d.parked.park(by)
			}
			if err != nil {
				return 0, err
			}
		default:
			return 0, fmt.Errorf("read the socket: %w", err)
		}
	}
}

// noted takes in how long a read waited, zero for not at all, and how much it brought.
func (d *direct) noted(n int, began time.Time) {
	switch {
	case d.gathered && n >= much:
		d.quick, d.rare, d.since = brisk, 0, n
	case d.gathered: // that there was something says nothing
	case began.IsZero() || time.Since(began) < fill:
		d.quick, d.since = min(d.quick+1, brisk), d.since+n
		if d.quick == brisk && d.since >= much { // no transaction that came by itself
			d.rare = 0
		}
	default:
		d.quick, d.rare, d.since = 0, min(d.rare+1, brisk), n
	}
	d.gathered = false
}

// writeLook is how often a blocked Write looks for another deadline: it is not worth a wake of its own.
const writeLook = 100 * time.Millisecond

// Write is net.Conn's.
func (d *direct) Write(p []byte) (done int, err error) {
	d.users.RLock()
	defer d.users.RUnlock()
	for done < len(p) {
		if _, err := d.deadline(&d.writeBy); err != nil {
			return done, err
		}
		n, err := unix.Write(d.fd, p[done:])
		switch {
		case n > 0:
			done += n
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			if err := d.wait(time.Now().Add(writeLook), unix.PollFd{Fd: int32(d.fd), Events: unix.POLLOUT}); err != nil { //nolint:gosec // a file descriptor
				return done, err
			}
		default:
			return done, fmt.Errorf("write to the socket: %w", err)
		}
	}
	return done, nil
}

// rest lets the socket fill, unless a deadline is set meanwhile: for that long while messages come in quick succession, for gather
// when they have been rare for a while, else not at all.
func (d *direct) rest(long time.Duration) {
	gathers := d.rare == brisk && d.gather > 0
	if !gathers && d.quick < brisk {
		return
	}
	d.users.RLock()
	defer d.users.RUnlock()
	quiet(d.wake) // what was set before is looked at now
	by, err := d.deadline(&d.readBy)
	if err != nil {
		return
	}
	if gathers {
		_ = d.parked.sleep(by, d.gather)
		d.gathered = true
		return
	}
	_ = d.wait(time.Now().Add(long), unix.PollFd{Fd: int32(d.wake), Events: unix.POLLIN}) //nolint:gosec // a file descriptor
}

// wait returns when one of them is ready, at by, or after a signal.
func (d *direct) wait(by time.Time, fds ...unix.PollFd) error {
	var timeout *unix.Timespec
	if !by.IsZero() {
		t := unix.NsecToTimespec(max(0, time.Until(by)).Nanoseconds())
		timeout = &t
	}
	if _, err := unix.Ppoll(fds, timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for the socket: %w", err)
	}
	if last := fds[len(fds)-1]; int(last.Fd) == d.wake && last.Revents != 0 {
		quiet(d.wake)
	}
	return nil
}

// deadline is a time, or the error of one that is over.
func (d *direct) deadline(of *time.Time) (time.Time, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch by := *of; {
	case d.closed:
		return by, net.ErrClosed
	case !by.IsZero() && !time.Now().Before(by):
		return by, os.ErrDeadlineExceeded
	default:
		return by, nil
	}
}

func (d *direct) change(set func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return net.ErrClosed
	}
	set()
	one := [8]byte{1}
	_, _ = unix.Write(d.wake, one[:]) // a full one wakes as well
	return nil
}

// SetDeadline is net.Conn's.
func (d *direct) SetDeadline(t time.Time) error {
	return d.change(func() { d.readBy, d.writeBy = t, t })
}

// SetReadDeadline is net.Conn's.
func (d *direct) SetReadDeadline(t time.Time) error { return d.change(func() { d.readBy = t }) }

// SetWriteDeadline is net.Conn's.
func (d *direct) SetWriteDeadline(t time.Time) error { return d.change(func() { d.writeBy = t }) }

// Close ends what waits, and the connection.
func (d *direct) Close() error {
	if err := d.change(func() { d.closed = true }); err != nil {
		return err
	}
	d.users.Lock()
	defer d.users.Unlock()
	d.parked.close()
	_ = unix.Close(d.wake)
	if err := unix.Close(d.fd); err != nil {
		return fmt.Errorf("close the socket: %w", err)
	}
	return nil
}
