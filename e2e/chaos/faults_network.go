package main

import (
	"context"
	"time"
)

func networkFaults() []fault {
	return []fault{
		{"network cut", 3, false, func(ctx context.Context, a *env) error {
			return a.network(ctx, "cut off", (*supervisor).cut, 300*time.Millisecond, 3*time.Second)
		}},
		{"network half-open", 0, false, func(ctx context.Context, a *env) error {
			return a.network(ctx, "half-open", (*supervisor).halfOpen, 20*time.Second, 21*time.Second)
		}},
		{"network silent for a while", 2, false, func(ctx context.Context, a *env) error {
			return a.network(ctx, "half-open", (*supervisor).halfOpen, time.Second, 4*time.Second)
		}},
		{"network slow", 2, false, func(ctx context.Context, a *env) error {
			return a.network(ctx, "slow", (*supervisor).slow, 2*time.Second, 5*time.Second)
		}},
		{"connection reset in the middle of a message", 4, false, func(ctx context.Context, a *env) error {
			return a.network(ctx, "reset", func(m *supervisor) { m.proxy.ResetAfter(1 + a.rng.IntN(200_000)) }, time.Second, 2*time.Second)
		}},
	}
}

func (m *supervisor) cut()      { m.proxy.Cut() }
func (m *supervisor) halfOpen() { m.proxy.HalfOpen() }
func (m *supervisor) slow()     { m.proxy.Slow() }

// network breaks the leader's network for a while.
func (a *env) network(ctx context.Context, kind string, fault func(*supervisor), low, high time.Duration) error {
	m := a.leader()
	if m == nil {
		return errNoLeader
	}
	over := a.observer.openWindow(kind)
	defer over()
	fault(m)
	err := pause(ctx, a.between(low, high))
	m.proxy.Heal()
	return err
}
