package pg

import (
	"strings"
	"time"
)

// Storable makes a text fit for a column, wherever it came from: PostgreSQL takes neither a zero byte nor what is no UTF-8.
func Storable(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "\uFFFD")
}

// OrNull stores a time that never was as null.
func OrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
