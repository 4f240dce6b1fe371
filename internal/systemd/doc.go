// Package systemd tells a service manager how the daemon is, by sd_notify: that it is ready, that it lives, what it is at,
// that it stops.
//
// Invariants:
//   - A sign of life is passed on, never made up: nothing here feeds the watchdog by a timer. When those who call Alive
//     fall silent, so does this.
//   - Who calls never waits. Messages go out from a goroutine of their own; while one cannot be sent, what comes
//     meanwhile goes into the next one.
//   - A message is one datagram, and no text can bring a line of its own into it.
//   - Where nobody listens (no NOTIFY_SOCKET) nothing is done.
package systemd
