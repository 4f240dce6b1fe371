package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap/zapcore"
)

// console is a zap core for people: time, level, message, and the fields as key=value, in the order
// they were given. zap's own console encoder writes them as JSON, which nobody reads at a glance.
type console struct {
	zapcore.LevelEnabler
	out    io.Writer
	fields []zapcore.Field
}

func (c *console) With(fields []zapcore.Field) zapcore.Core {
	return &console{c.LevelEnabler, c.out, append(slices.Clone(c.fields), fields...)}
}

func (c *console) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c *console) Write(e zapcore.Entry, fields []zapcore.Field) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-5s %s", e.Time.Format("15:04:05.000"), e.Level.CapitalString(), e.Message)
	for _, f := range append(slices.Clone(c.fields), fields...) {
		values := zapcore.NewMapObjectEncoder()
		f.AddTo(values)
		text := fmt.Sprint(values.Fields[f.Key])
		if text == "" || strings.ContainsAny(text, " =\"\n\t") {
			text = strconv.Quote(text)
		}
		fmt.Fprintf(&b, " %s=%s", f.Key, text)
	}
	b.WriteByte('\n')
	_, err := io.WriteString(c.out, b.String())
	return err
}

func (c *console) Sync() error { return nil }
