package replication

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// parking is where a goroutine waits for a socket in Go's network poller. The poller knows neither it nor its eventfd,
// but an epoll instance beside it, which has the socket for one event at a time: while nobody is parked, nobody is woken. For sleeps
// there is a timerfd in it: one of Go's timers wakes a thread twice, and the scheduler's watching thread three times.
type parking struct {
	instance int
	file     *os.File // the same, as the poller has it
	raw      syscall.RawConn
	fd, wake int
	timer    int       // a timerfd
	by       time.Time // the file's deadline
	armed    bool      // the socket has not had its event yet

	look  func(uintptr) bool
	event unix.EpollEvent // what the last look saw
}

func newParking(fd, wake int) (*parking, error) {
	own, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create an epoll instance: %w", err)
	}
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(own)
		return nil, fmt.Errorf("create a timer: %w", err)
	}
	p := &parking{instance: own, fd: fd, wake: wake, timer: timer}
	err = errors.Join(
		unix.SetNonblock(own, true), // as os.NewFile wants what is to be polled
		p.control(unix.EPOLL_CTL_ADD, fd, unix.EPOLLONESHOT),
		p.control(unix.EPOLL_CTL_ADD, wake, unix.EPOLLIN),
		p.control(unix.EPOLL_CTL_ADD, timer, unix.EPOLLIN|unix.EPOLLET), // what it says need not be taken back
	)
	p.file = os.NewFile(uintptr(own), "epoll")
	p.look = p.ready
	if err == nil {
		err = p.file.SetDeadline(time.Time{}) // refused where the poller has not taken it
	}
	if err == nil {
		p.raw, err = p.file.SyscallConn()
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("poll an epoll instance: %w", err)
	}
	return p, nil
}

// park returns when the socket can be read, at by, or when somebody wakes it.
func (p *parking) park(by time.Time) error {
	err := p.setDeadline(by)
	if err == nil {
		err = p.control(unix.EPOLL_CTL_MOD, p.fd, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLONESHOT)
	}
	if err != nil {
		return err
	}
	p.armed = true
	return p.wait()
}

// sleep returns when d, which is more than 0, is over, at by, or when somebody wakes it; what comes by the socket meanwhile waits there.
// by is that of a park: to change it would take one of Go's timers.
func (p *parking) sleep(by time.Time, d time.Duration) error {
	err := p.setDeadline(by)
	if err == nil && p.armed {
		p.armed = false
		err = p.control(unix.EPOLL_CTL_MOD, p.fd, unix.EPOLLONESHOT)
	}
	if err != nil {
		return err
	}
	if err := unix.TimerfdSettime(p.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}, nil); err != nil {
		return fmt.Errorf("set a timer: %w", err)
	}
	return p.wait()
}

func (p *parking) setDeadline(by time.Time) error {
	if !by.Equal(p.by) {
		if err := p.file.SetReadDeadline(by); err != nil {
			return fmt.Errorf("wait for the socket: %w", err)
		}
		p.by = by
	}
	return nil
}

func (p *parking) wait() error {
	if err := p.raw.Read(p.look); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("wait for the socket: %w", err)
	}
	return nil
}

// ready is asked before the goroutine is parked, too: what was there already is no event.
func (p *parking) ready(uintptr) bool {
	n, err := eventNow(p.instance, &p.event)
	if n == 1 {
		switch int(p.event.Fd) {
		case p.wake:
			quiet(p.wake)
		case p.fd:
			p.armed = false
		}
	}
	return n > 0 || (err != nil && !errors.Is(err, unix.EINTR))
}

func (p *parking) control(op, fd int, events uint32) error {
	if err := unix.EpollCtl(p.instance, op, fd, &unix.EpollEvent{Fd: int32(fd), Events: events}); err != nil { //nolint:gosec // a file descriptor
		return fmt.Errorf("have the socket polled: %w", err)
	}
	return nil
}

// close leaves the socket and the eventfd alone. Nobody may be parked any more.
func (p *parking) close() { _, _ = p.file.Close(), unix.Close(p.timer) }

// quiet takes a wake back.
func quiet(wake int) {
	var buf [8]byte
	_, _ = readNow(wake, buf[:])
}
