package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func at(s int) time.Time { return time.Unix(int64(1000+s), 0) }

// A marker that stands is excused until somebody vouches for it whose word came later.
func TestWindowClosesAtAVoucher(t *testing.T) {
	for _, c := range []struct {
		name   string
		over   time.Time
		v      voucher
		closes bool
	}{
		{"nobody leads", time.Time{}, voucher{}, false},
		{"its last word, under way when it was silenced", time.Time{}, voucher{"a", true, at(11)}, false},
		{"a standby that leads", time.Time{}, voucher{"b", false, at(15)}, false},
		{"a standby that vouches", time.Time{}, voucher{"b", true, at(15)}, true},
		{"another one, before", time.Time{}, voucher{"b", true, at(9)}, false},
		{"its last word, when all is over", at(20), voucher{"a", true, at(11)}, false},
		{"itself again", at(20), voucher{"a", true, at(21)}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := window{began: at(10), silenced: at(10), mute: "a", over: c.over}
			require.Equal(t, c.closes, w.look(at(22), true, c.v))
		})
	}
}

// What a leader sent before it was silenced may land for a moment after the marker was seen not set; later it is
// void, and nothing more is excused.
func TestWindowClosesWhenNoCommandCanBeUnderWay(t *testing.T) {
	w := window{began: at(10), silenced: at(10), mute: "a"}
	require.False(t, w.look(at(11), false, voucher{}))
	w.silenced = at(14) // another fault of its kind
	require.False(t, w.look(at(15), false, voucher{}))
	require.True(t, w.look(at(16), false, voucher{}))
	require.Equal(t, time.Second, w.stood(at(16)))
}

// How long the marker stood ends when it is seen not set, unless it is set again while only the mute lead.
func TestWindowMeasuresTheMarker(t *testing.T) {
	mute := voucher{"a", true, at(9)}
	w := window{began: at(10), silenced: at(14), mute: "a"}
	w.look(at(11), true, mute)
	w.look(at(12), false, mute)
	require.Equal(t, 2*time.Second, w.stood(at(13)))
	w.look(at(13), true, mute) // a command that was on its way
	require.Equal(t, 4*time.Second, w.stood(at(14)))
	w.look(at(14), false, mute)
	w.look(at(20), true, voucher{"b", false, at(20)}) // the standby's marker, its word still to come
	require.Equal(t, 4*time.Second, w.stood(at(21)))
	require.True(t, w.look(at(21), true, voucher{"b", true, at(21)}))
	require.Equal(t, 4*time.Second, w.stood(at(21)))
}
