package systemd

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

// Notifier tells the service manager that started this process. It is safe for concurrent use.
type Notifier struct {
	send   func(message string) error
	log    *zap.Logger
	watch  bool          // a watchdog waits for signs of life
	period time.Duration // for how long one of them holds
	wake   chan struct{}
	ended  chan struct{} // the sender has sent its last

	mu   sync.Mutex
	next message   // what is to be sent
	told message   // what was, apart from signs of life
	fed  time.Time // when the last sign of life was passed on
	over bool      // nothing more is sent
}

// message is what is to be said. A field that was said already is not said again, but for alive.
type message struct {
	ready, stopping, alive bool
	status                 string
}

const (
	// startPeriod is how long a sign of life holds while the daemon is not ready, where no watchdog says otherwise.
	startPeriod = time.Minute
	// feeds is how many signs of life are passed on within the time that one of them holds, at most.
	feeds = 20
	// longestStatus bounds a status, in bytes.
	longestStatus = 600
	// lastWithin bounds the wait for the last message.
	lastWithin = time.Second
)

// New makes a Notifier as the environment asks for it; nil when nobody listens. Close has to be called.
func New(log *zap.Logger) *Notifier {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		complain(log, err)
	}
	n := newNotifier(log, watchdog, func(message string) error {
		_, err := daemon.SdNotify(false, message)
		return err
	})
	go n.run()
	return n
}

func newNotifier(log *zap.Logger, watchdog time.Duration, send func(string) error) *Notifier {
	n := &Notifier{send: send, log: log, watch: watchdog > 0, period: startPeriod, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	if n.watch {
		n.period = watchdog
	}
	return n
}

// Alive passes a sign of life on, unless the last one is recent enough.
func (n *Notifier) Alive() {
	now := time.Now()
	n.change(func(next *message) bool {
		if now.Sub(n.fed) < n.period/feeds {
			return false
		}
		n.fed, next.alive = now, true
		return true
	})
}

// Ready says that the daemon has started. From now on the watchdog counts.
func (n *Notifier) Ready() {
	n.change(func(next *message) bool {
		said := next.ready
		next.ready = true
		return !said
	})
}

// Status says in one line what the daemon is at.
func (n *Notifier) Status(text string) {
	text = line(text)
	n.change(func(next *message) bool {
		said := next.status == text
		next.status = text
		return !said
	})
}

// Stopping says that the daemon ends.
func (n *Notifier) Stopping() {
	n.change(func(next *message) bool {
		said := next.stopping
		next.stopping = true
		return !said
	})
}

// Close sends what is left to say, and waits for that, but not for long.
func (n *Notifier) Close() {
	n.mu.Lock()
	if !n.over {
		n.over = true
		close(n.wake)
	}
	n.mu.Unlock()
	timer := time.NewTimer(lastWithin)
	defer timer.Stop()
	select {
	case <-n.ended:
	case <-timer.C:
	}
}

// change alters what is to be said, and wakes the sender if there is something new.
func (n *Notifier) change(f func(next *message) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over || !f(&n.next) {
		return
	}
	select {
	case n.wake <- struct{}{}:
	default: // it is to be woken already
	}
}

// run sends until Close.
func (n *Notifier) run() {
	defer close(n.ended)
	failed := false
	for open := true; open; {
		_, open = <-n.wake
		text := n.take()
		if text == "" {
			continue
		}
		if err := n.send(text); err != nil && !failed {
			failed = true
			complain(n.log, err)
		}
	}
}

func complain(log *zap.Logger, err error) {
	log.Warn("the daemon could not report its state to the service manager", zap.Error(err))
}

// take writes down what was not said yet.
func (n *Notifier) take() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var lines []string
	add := func(due bool, text string) {
		if due {
			lines = append(lines, text)
		}
	}
	next, told := n.next, n.told
	add(next.ready && !told.ready, daemon.SdNotifyReady)
	add(next.stopping && !told.stopping, daemon.SdNotifyStopping)
	add(next.status != told.status, "STATUS="+next.status)
	add(next.alive && n.watch, daemon.SdNotifyWatchdog)
	// A start may take long (the replication slot waits for whoever writes): as long as it lives it is not given up.
	add(next.alive && !next.ready, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", n.period.Microseconds()))
	n.next.alive = false
	n.told = n.next
	return strings.Join(lines, "\n")
}

// line makes one line of a text, valid and not too long.
func line(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) > longestStatus {
		text = strings.ToValidUTF8(text[:longestStatus], "") + "…"
	}
	return text
}
