package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Older builds of awa-counterd. Where a version was tagged, the last one stands for the first of these.
const (
	sameTables    = "bc35571" // its checkpoint can be resumed from; "" where there is none before this one
	oneRow        = "4e36575" // tables of another form: who leads and the heartbeat were one row
	withoutBounds = "74138a1" // of one more: its leaders had no bound of their own
)

// olderBuilds builds commits side by side, and are the paths of their binaries. Where the history is not there, the test is skipped.
func olderBuilds(t *testing.T, commits ...string) []string {
	t.Helper()
	paths, failed := make([]string, len(commits)), make([]error, len(commits))
	var wg sync.WaitGroup
	for i, commit := range commits {
		if err := outside(t, "git", "cat-file", "-e", commit+"^{commit}").Run(); err != nil {
			t.Skipf("commit %s is not in this checkout (a shallow clone, or an archive): no older build is tested", commit)
		}
		dir := t.TempDir()
		wg.Go(func() { paths[i], failed[i] = olderBuild(t, commit, dir) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(failed...))
	return paths
}

// outside is a command in the root of the repository.
func outside(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = ".."
	return cmd
}

func olderBuild(t *testing.T, commit, dir string) (path string, err error) {
	t.Helper()
	sources, err := outside(t, "git", "archive", "--format=tar", commit).Output()
	if err != nil {
		return "", err
	}
	unpack := exec.CommandContext(t.Context(), "tar", "-x", "-C", dir)
	unpack.Stdin = bytes.NewReader(sources)
	if err := unpack.Run(); err != nil {
		return "", err
	}
	path = filepath.Join(dir, "older")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-X main.release="+commit, "-o", path, "./cmd/awa-counterd")
	build.Dir = dir
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", commit, err, said)
	}
	return path, nil
}

// lastRelease is the last tagged version before this commit; "" for none.
func lastRelease(t *testing.T) string {
	t.Helper()
	out, err := outside(t, "git", "describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// saysOf runs a command of a build, which succeeds.
func (e *env) saysOf(build, url string, args ...string) string {
	e.t.Helper()
	cmd := exec.CommandContext(e.t.Context(), build, append(args, "--database-url", url)...)
	said, err := cmd.CombinedOutput()
	require.NoError(e.t, err, "%s", said)
	return string(said)
}

// runs starts the daemon of a build.
func (e *env) runs(build, url string, args ...string) *daemon {
	e.t.Helper()
	return startBinary(e.t, build, nil, append([]string{"run", "--database-url", url, "--status-interval", "1s", "--checkpoint-interval", "200ms"}, args...)...)
}

// serves waits until a daemon that began so leads and is trusted, and has it correct an uncounted write of before it and one of now.
func (e *env) serves(d *daemon, began string) {
	e.t.Helper()
	d.logged(began, 20*time.Second)
	e.marker(true, 20*time.Second)
	e.balanced(5 * time.Second)
	e.insertAt(1, "email", 7, false)
	e.balanced(5 * time.Second)
}

const resumes = "resuming from the checkpoint"

const afresh = "scanning afresh"

// The daemon is upgraded, rolled back and upgraded again: each build goes on from the other's checkpoint, with uncounted writes in
// between; as leader and standby of two versions; where the checkpoint cannot be resumed from, everything is scanned. Tables of another
// form are created again, also with the least rights.
func TestUpgradeOurselves(t *testing.T) {
	t.Parallel()
	commit := lastRelease(t)
	if commit == "" {
		commit = sameTables
	}
	commits := []string{oneRow, withoutBounds}
	if commit != "" {
		commits = append(commits, commit)
	}
	builds := olderBuilds(t, commits...)
	for name, c := range map[string]struct {
		older int
		test  func(*env, string, string)
	}{
		"up, down, up":                       {2, upDownUp},
		"leader and standby":                 {2, besideEachOther},
		"the form before":                    {0, anotherForm},
		"the form before, least rights":      {0, anotherFormWithLeastRights},
		"the form before that":               {1, anotherForm},
		"the form before that, least rights": {1, anotherFormWithLeastRights},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.older == len(builds) {
				t.Skip("no older build has tables of this form")
			}
			c.test(newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4}), builds[c.older], commits[c.older])
		})
	}
}

func upDownUp(e *env, older, _ string) {
	e.insertAt(0, "email", 20, false)
	began := afresh
	for _, build := range []string{older, binary, older, binary} {
		e.insertAt(1, "email", 5, false)
		d := e.runs(build, e.url())
		e.serves(d, began)
		require.Zero(e.t, d.stop(), d.text())
		began = resumes
	}
	e.saysOf(binary, e.url(), "teardown")
}

func besideEachOther(e *env, older, _ string) {
	leader := e.runs(older, e.url())
	e.serves(leader, "leading")
	for _, build := range []string{binary, older} { // the one that stands by, and then leads
		standby := e.runs(build, e.url())
		standby.logged("standing by", 10*time.Second)
		for _, asks := range []string{older, binary} {
			require.Contains(e.t, e.saysOf(asks, e.url(), "status"), fmt.Sprint(leader.PID()))
		}
		leader.signal(syscall.SIGSTOP) // the marker is nobody's business but the standby's
		e.marker(false, 8*time.Second)
		leader.signal(syscall.SIGCONT)
		e.marker(true, 20*time.Second)
		leader.kill()
		e.insertAt(1, "email", 5, false)
		e.serves(standby, resumes)
		leader = standby
	}
	require.Zero(e.t, leader.stop())
}

// anotherForm is not created again under the daemon that works with it; that one and this can stand by for each other.
func anotherForm(e *env, older, commit string) {
	old := e.runs(older, e.url())
	e.serves(old, "leading")
	code, _, errs := e.command("setup")
	require.Equal(e.t, refused, code, errs)
	require.Contains(e.t, errs, "the tables in schema awa_counterd are those of version "+commit+", and its daemon corrects awa's schema awa")
	require.Contains(e.t, errs, fmt.Sprintf("pid %d", old.PID()))
	require.Contains(e.t, errs, "start it again as this version")

	require.Contains(e.t, e.saysOf(binary, e.url(), "status"), fmt.Sprintf("pid %d leads, of version %s, which has its tables in another form", old.PID(), commit))
	next := e.runs(binary, e.url())
	require.Contains(e.t, next.logged("standing by", 10*time.Second)["leader"], fmt.Sprintf("pid %d", old.PID()))
	e.wait(time.Second)
	e.marker(true, 0)
	old.signal(syscall.SIGSTOP)
	e.marker(false, 8*time.Second)
	old.signal(syscall.SIGCONT)
	e.marker(true, 20*time.Second)
	old.kill()
	e.insertAt(1, "email", 5, false)
	e.serves(next, afresh)
	if commit == oneRow { // the other one did not know that there may be another form
		late := e.runs(older, e.url())
		late.logged("standing by", 10*time.Second)
		began := e.scalar(`select extract(epoch from leads_since)::int8 from awa_counterd.leader`)
		e.wait(17 * time.Second) // longer than it has patience with a leader that hangs
		e.marker(true, 0)
		require.Equal(e.t, began, e.scalar(`select extract(epoch from leads_since)::int8 from awa_counterd.leader`))
		require.Zero(e.t, late.stop())
	}
	require.Zero(e.t, next.stop())
	e.insertAt(1, "email", 5, false)
	old = e.runs(older, e.url()) // rolled back: it finds all that it knows, but takes awa's tables for others
	e.serves(old, afresh)
	require.Zero(e.t, old.stop())
	e.saysOf(binary, e.url(), "teardown")
}

// anotherFormWithLeastRights is for somebody else to create again, and refused until then.
func anotherFormWithLeastRights(e *env, older, _ string) {
	role := e.role("replication")
	asRole := server.URL(role, "", e.db)
	e.saysOf(older, e.url(), "setup", "--role", role)
	old := e.runs(older, asRole, "--no-setup")
	e.serves(old, "leading")
	require.Zero(e.t, old.stop())
	refuses(e.t, refused, asRole, []string{"--no-setup"}, "let a DBA run the statements that awa-counterd setup --print-sql prints")
	e.saysOf(binary, e.url(), "setup", "--role", role)
	e.insertAt(1, "email", 5, false)
	d := e.runs(binary, asRole, "--no-setup")
	e.serves(d, afresh)
	require.Zero(e.t, d.stop())
}
