//go:build failpoints

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

var reached atomic.Int64 //nolint:gochecknoglobals // only in this build, and there is one process to kill

// Reach kills the process if it was told to die here.
func Reach(point string) {
	name, count, _ := strings.Cut(os.Getenv("AWACD_DIE_AT"), ":")
	if name != point {
		return
	}
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		n = 1
	}
	if reached.Add(1) == n {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // no further step
	}
}
