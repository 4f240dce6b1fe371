package handbook

import (
	"regexp"
	"strings"
)

// What differs from run to run in a line of output, the more particular first.
var varying = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\b[0-9A-F]+/[0-9A-F]+\b`), "LSN"},
	{regexp.MustCompile(`\b[0-9a-f]{8,16}\b`), "ID"},
	{regexp.MustCompile(`\d+(\.\d+)?(e[-+]\d+)? ?(B|KiB|MiB|GiB)\b`), "SIZE"},
	{regexp.MustCompile(`(\d+(\.\d+)?(ms|µs|ns|h|m|s))+\b`), "TIME"},
	{regexp.MustCompile(`\d+(\.\d+)? (s|min|h)\b`), "TIME"},
	{regexp.MustCompile(`[-+]?\d[\d,.:]*\d|[-+]?\d`), "N"},
	{regexp.MustCompile(`─+`), "─"},
	{regexp.MustCompile(` +`), " "},
}

var (
	logged = regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d+ (DEBUG|INFO|WARN|ERROR)`)
	field  = regexp.MustCompile(` ([a-z_/]+)=("(?:[^"\\]|\\.)*"|\S*)`)
)

// Skeleton is a line of output without what differs from run to run: positions, ids, sizes, times, numbers, the
// width of columns, and of a line of the log the fields; of a status line their values.
func Skeleton(line string) string {
	if logged.MatchString(line) {
		with := ""
		if strings.Contains(line, " status ") {
			with = " $1"
		}
		return strings.TrimSpace(field.ReplaceAllString(line[len("15:04:05.000"):], with))
	}
	for _, v := range varying {
		line = v.pattern.ReplaceAllString(line, v.with)
	}
	return strings.TrimSpace(line)
}

// Missing returns the first of the wanted lines that is not among those that were printed, in order and by their
// skeletons; "" when all are. Lines that nobody wanted may stand between them.
func Missing(wanted, printed []string) string {
	_, missing := Renew(wanted, printed)
	return missing
}

// Omission is a line of a page that stands for lines that it leaves out.
const Omission = "…"

// Renew puts what was printed in the place of the wanted lines, and returns the first that was not.
func Renew(wanted, printed []string) (renewed []string, missing string) {
	next := 0
	for _, w := range wanted {
		if strings.TrimSpace(w) == Omission {
			renewed = append(renewed, w)
			continue
		}
		found := false
		for ; next < len(printed) && !found; next++ {
			if found = Skeleton(printed[next]) == Skeleton(w); found {
				renewed = append(renewed, printed[next])
			}
		}
		if !found {
			return nil, w
		}
	}
	return renewed, ""
}
