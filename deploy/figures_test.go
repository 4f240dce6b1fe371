package deploy

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dustin/go-humanize"
	"github.com/stretchr/testify/require"
)

// read is a file in one line, whatever its own lines are.
func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return strings.Join(strings.Fields(strings.ReplaceAll(string(text), "\n#", "\n")), " ")
}

// found are the groups of the one place where a text has a pattern.
func found(t *testing.T, pattern, text string) []string {
	t.Helper()
	all := regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1)
	require.Len(t, all, 1, pattern)
	return all[0][1:]
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(text, 64)
	require.NoError(t, err)
	return n
}

// size is a line of docs/reports/benchmark-size.md.
type size struct {
	groups, rows      int64
	seconds, megabyte string
}

// sizes are its lines, with when it was made and of which commit.
func sizes(t *testing.T) (report, made string, lines []size) {
	t.Helper()
	report = read(t, "../docs/reports/benchmark-size.md")
	m := found(t, "Made by `make bench` on ([0-9-]+), commit ([^,]+),", report)
	for _, l := range regexp.MustCompile(`\| (\d+) \| (\d+) \| ([0-9.]+) s \| (\d+) MB \|`).FindAllStringSubmatch(report, -1) {
		lines = append(lines, size{int64(number(t, l[1])), int64(number(t, l[2])), l[3], l[4]})
	}
	return report, m[0] + ", commit " + m[1], lines
}

func of(t *testing.T, all []size, groups int64) size {
	t.Helper()
	i := slices.IndexFunc(all, func(s size) bool { return s.groups == groups })
	require.GreaterOrEqual(t, i, 0, "the report has nothing of %d groups", groups)
	return all[i]
}

// beside is what a process has beyond what GOMEMLIMIT bounds, in MiB: the pages of its program, most of all.
const beside = 32

// The limits of the unit follow from what many groups were measured to take under its GOMEMLIMIT: no more than that, and what the program
// itself takes; and MemoryMax leaves an eighth beyond. Its comment quotes the report, and all that is shipped has the same limits.
func TestMemoryLimitsFollowFromTheReport(t *testing.T) {
	report, _, all := sizes(t)
	unit := read(t, unitFile)
	limit, most := found(t, `Environment=GOMEMLIMIT=(\d+)MiB`, unit)[0], found(t, `MemoryMax=(\d+)M\b`, unit)[0]
	require.Contains(t, report, "GOMEMLIMIT was "+limit+"MiB;", "measured with another limit")
	many, buckets := of(t, all, 960000), of(t, all, 3840)
	require.EqualValues(t, 983040, buckets.rows)
	bound := number(t, limit) + beside
	require.Less(t, number(t, many.megabyte), bound)
	require.Less(t, bound*9/8, number(t, most))
	require.Contains(t, unit, fmt.Sprintf("960,000 groups take %s MB, 983,040 counter rows in 3,840 groups %s MB.", many.megabyte, buckets.megabyte))

	limited := 0
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		text := read(t, path)
		limits := regexp.MustCompile(`GOMEMLIMIT(?:: |, value: )(\w+)`).FindAllStringSubmatch(text, -1)
		maxima := regexp.MustCompile(`(?:mem_limit: |limits: \{memory: )(\d+)`).FindAllStringSubmatch(text, -1)
		require.Len(t, maxima, len(limits), path)
		for i := range limits {
			limited++
			require.Equal(t, limit+"MiB", limits[i][1], path)
			require.Equal(t, most, maxima[i][1], path)
		}
		return nil
	}))
	require.Positive(t, limited)
}

// docs/scaling.md quotes the reports that were made last, and what it works out from them follows.
func TestScalingSaysWhatTheReportsSay(t *testing.T) {
	page := read(t, "../docs/scaling.md")
	says := func(format string, args ...any) { t.Helper(); require.Contains(t, page, fmt.Sprintf(format, args...)) }
	_, made, all := sizes(t)
	few, half, many := of(t, all, 96000), of(t, all, 480000), of(t, all, 960000)
	says("until trusted | %s s; %s s; %s s | %s,", few.seconds, half.seconds, many.seconds, made)
	says("| %s MB; %s MB; %s MB | the same |", few.megabyte, half.megabyte, many.megabyte)
	says("983,040 counter rows, 256 to a group: peak memory | %s MB |", of(t, all, 3840).megabyte)
	says("| %s MB at 480,000 groups, %s MB at 960,000 |", half.megabyte, many.megabyte)
	a, b := number(t, half.seconds), number(t, many.seconds)
	says("| %s s at 480,000 groups, %s s at 960,000 | some %.0f s |", half.seconds, many.seconds, a+(b-a)/3) // of 640,000
	says("with 960,000 wrong groups took %s s", many.seconds)
	rate := humanize.Comma(int64(960/b) * 1000)
	says("at least %s groups a second (*on paper*)", rate)
	says("| at least %s groups a second | a flush of nearly a second", rate)

	drain := read(t, "../docs/reports/benchmark.md")
	m := found(t, "Made by `make bench` on ([0-9-]+), commit ([^,]+),", drain)
	ratios := make(map[string][]float64)
	rates := make(map[string][]int64)
	for _, l := range regexp.MustCompile(`\| \d+ \| (306|ledger) \| \d+ \| (\d+) \| ([0-9.]+) \|`).FindAllStringSubmatch(drain, -1) {
		rates[l[1]] = append(rates[l[1]], int64(number(t, l[2])))
		ratios[l[1]] = append(ratios[l[1]], number(t, l[3]))
	}
	thousands := func(n int64) string { return humanize.Comma(int64(math.Round(float64(n)/1000)) * 1000) }
	for shape, changes := range map[string]float64{"306": 1, "ledger": 2} {
		low, high := slices.Min(rates[shape]), slices.Max(rates[shape])
		says("%s to %s", thousands(low), thousands(high))
		says("| %.0f to %.0f", math.Ceil(changes*1e6/float64(high)), math.Ceil(changes*1e6/float64(low)))
	}
	says("%s to %s row changes a second (#306), ", humanize.Comma(slices.Min(rates["306"])), humanize.Comma(slices.Max(rates["306"])))
	says("%s to %s (ledger) | %s, commit %s,", humanize.Comma(slices.Min(rates["ledger"])), humanize.Comma(slices.Max(rates["ledger"])), m[0], m[1])
	medians := found(t, `Median ratio to the peer: ([0-9.]+) in #306, ([0-9.]+) in the ledger shape`, drain)
	says("%s (%.2f–%.2f) in #306, %s (%.2f–%.2f) with the ledger", medians[0], slices.Min(ratios["306"]), slices.Max(ratios["306"]),
		medians[1], slices.Min(ratios["ledger"]), slices.Max(ratios["ledger"]))
	memory := found(t, `The daemon's peak memory was (\d+) MB`, drain)[0]
	says("memory of that daemon, few groups | %s MB |", memory)
	says("a part of the %s MB above", memory)
}
