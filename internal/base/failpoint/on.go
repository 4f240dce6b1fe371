//go:build failpoints

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Only in this build, and there is one process to kill.
var toDie, toHang atomic.Int64

// Reach kills the process if it was told to die here, or hangs.
func Reach(point string) {
	if isTurn(point, "AWACD_HANG_AT", &toHang) {
		select {}
	}
	if isTurn(point, "AWACD_DIE_AT", &toDie) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // no further step
	}
}

// isTurn reports the nth time that the point is reached which a variable names.
func isTurn(point, variable string, reached *atomic.Int64) bool {
	name, count, _ := strings.Cut(os.Getenv(variable), ":")
	if name != point {
		return false
	}
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		n = 1
	}
	return reached.Add(1) == n
}
