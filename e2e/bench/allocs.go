package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Part allocs: allocations on the hot path, by Go's own benchmarks of the packages that are on it. A row is one that
// arrives in the stream; what a transaction costs besides is in the benchmarks of transactions.

func allocsPart() part {
	return part{name: "allocs", title: "Allocations on the hot path", rounds: 3, about: 2 * time.Minute, still: true, begin: beginAllocs, show: showAllocs}
}

func beginAllocs(_ context.Context, b *bed) (round, error) {
	return func(ctx context.Context, _ int, p *roundResult) error {
		length := "1s"
		if b.scale < 1 {
			length = "20x"
		}
		cmd := exec.CommandContext(ctx, "go", "test", "-run", "xxx", "-bench", ".", "-benchmem", "-benchtime", length, "./decoder", "./applier")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("go test: %w: %s", err, out)
		}
		return takeBenchmarks(string(out), p)
	}, nil
}

// takeBenchmarks reads what `go test -bench` prints: the name, how often, and pairs of value and unit.
func takeBenchmarks(out string, p *roundResult) error {
	found := 0
	lines := bufio.NewScanner(strings.NewReader(out))
	where := ""
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 2 && fields[0] == "pkg:" {
			where = fields[1][strings.LastIndex(fields[1], "/")+1:]
		}
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(fields[0], "Benchmark"), "-")
		for i := 2; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return fmt.Errorf("a line of go test that is no benchmark: %s", lines.Text())
			}
			p.note(where+"."+name, theDaemon, fields[i+1], v)
			found++
		}
	}
	if found == 0 {
		return errors.New("go test printed no benchmark")
	}
	return lines.Err()
}

func showAllocs(s *section, t *taken) {
	s.say("Go's benchmarks of the decoder and of the books (`go test -bench . ./decoder ./applier`). Where an operation is a whole transaction, the figures by the row\n" +
		"are it divided by its rows. The peer is pglogrepl's parser on the same message.")
	s.table("benchmark", "ns/op", "B/op", "allocations/op", "allocations/row", "**time ÷ InsertParse**")
	for _, c := range t.cases() {
		v := func(what string) string { return t.spread(c, theDaemon, what).in("") }
		ratio := spread{}
		if c == "decoder.Insert" {
			ratio = over(ratios(t.values(c, theDaemon, "ns/op"), t.values("decoder.InsertParse", theDaemon, "ns/op")))
		}
		s.row(c, v("ns/op"), v("B/op"), v("allocs/op"), v("allocs/row"), bold(ratio))
	}
}
