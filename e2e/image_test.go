package e2e

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/oci"
)

// The image of deploy/Dockerfile, built without an engine and unpacked: its binary is static, and does its work as nobody in a root
// in which there is nothing else.
func TestImage(t *testing.T) {
	d, err := oci.Read("../deploy/Dockerfile")
	require.NoError(t, err)
	certs := filepath.Join(t.TempDir(), "certs")
	require.NoError(t, os.WriteFile(certs, []byte("none"), 0o600))
	var archive bytes.Buffer
	require.NoError(t, d.Build(t.Context(), oci.Options{Root: "..", Release: "9.9.9-image", Commit: "0123abc", Certs: certs}, &archive))
	root, err := os.MkdirTemp("", "awacd-root")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	require.NoError(t, os.Chmod(root, 0o755))
	image, err := oci.Unpack(&archive, root)
	require.NoError(t, err)
	require.Equal(t, map[string]os.FileMode{"/awa-counterd": 0o555, "/etc/ssl/certs/ca-certificates.crt": 0o444}, image.Files)
	require.Equal(t, "65534:65534", image.Config.User)
	require.Equal(t, []string{"/awa-counterd"}, image.Config.Entrypoint)
	require.Equal(t, runtime.GOARCH, image.Arch)
	program, err := elf.Open(filepath.Join(root, "awa-counterd"))
	require.NoError(t, err)
	defer func() { _ = program.Close() }()
	for _, p := range program.Progs {
		require.NotEqual(t, elf.PT_INTERP, p.Type, "the binary is not static")
	}

	e := newEnv(t, fleet.Layout{Slots: 4})
	contained := func(args ...string) (*exec.Cmd, *bytes.Buffer) {
		var said bytes.Buffer
		cmd := &exec.Cmd{Path: image.Config.Entrypoint[0], Args: append([]string{image.Config.Entrypoint[0]}, args...), Dir: "/"}
		if os.Geteuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		} else { // only root may change its root
			cmd.Path = filepath.Join(root, cmd.Path)
		}
		cmd.Env = []string{"AWA_COUNTERD_DATABASE_URL=" + e.url(), "AWA_COUNTERD_LISTEN=0"}
		cmd.Stdout, cmd.Stderr = &said, &said
		return cmd, &said
	}
	version, said := contained("version")
	require.NoError(t, version.Run(), said)
	require.Contains(t, said.String(), "awa-counterd 9.9.9-image\ncommit 0123abc\n")

	daemon, said := contained(image.Config.Cmd...)
	require.NoError(t, daemon.Start())
	t.Cleanup(func() { _ = daemon.Process.Kill() })
	e.marker(true, 20*time.Second)
	e.insertAt(1, "q", 5, false)
	e.balanced(3 * time.Second)
	require.NoError(t, daemon.Process.Signal(syscall.SIGTERM))
	require.NoError(t, daemon.Wait(), said)
	require.Contains(t, said.String(), "9.9.9-image")
	require.Contains(t, said.String(), `"msg":"listening"`)
}
