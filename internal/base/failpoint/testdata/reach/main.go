// Command reach gets to a point three times, and says so each time.
package main

import (
	"fmt"

	"github.com/awa-counterd/awa-counterd/internal/base/failpoint"
)

func main() {
	for n := range 3 {
		failpoint.Reach(failpoint.Applied)
		fmt.Println("past", n+1)
	}
}
