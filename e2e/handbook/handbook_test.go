package handbook

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const sample = "# One `two`, three: #306\n\ntext [a](b.md#c) and `[no](link.md)`\n\n<!-- stage: old -->\n\n```sh\nls [x](y)\n```\n\n## Same\n## Same\n\n```text\nout\n```\n"

func page(t *testing.T) (string, *Page) {
	t.Helper()
	root := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(root, "p.md"), []byte(sample), 0o600))
	p, err := Read(root, "p.md")
	require.NoError(t, err)
	return root, p
}

func TestPage(t *testing.T) {
	root, p := page(t)
	require.Equal(t, []string{"b.md#c"}, p.Links())
	require.Equal(t, []string{"two", "[no](link.md)"}, p.Spans())
	require.Equal(t, map[string]bool{"one-two-three-306": true, "same": true, "same-1": true}, p.Anchors())
	blocks := p.Blocks()
	require.Len(t, blocks, 2)
	require.Equal(t, Block{Language: "sh", Notes: []string{"stage: old"}, Lines: []string{"ls [x](y)"}, First: 7}, blocks[0])
	require.Empty(t, blocks[1].Notes)

	require.NoError(t, p.Replace(root, blocks[1], []string{"more", "lines"}))
	again, err := Read(root, "p.md")
	require.NoError(t, err)
	require.Equal(t, p.Whole(), again.Whole())
	require.Equal(t, []string{"more", "lines"}, again.Blocks()[1].Lines)
}

func TestSkeleton(t *testing.T) {
	for _, same := range [][2]string{
		{`08:54:47.919 INFO  status position=0/1C76450 lag=76ms/0B drift=-327 trust="set 2s"`, `18:04:07.001 INFO  status position=12/A lag=1.5s/12KiB drift=4 trust="set 1m30s"`},
		{"│ email   │ 1397 │", "│ email │ 3 │"},
		{"heartbeat 0.2 s ago", "heartbeat 12 min ago"},
		{"┌─────────┬──────┐", "┌──┬──┐"},
	} {
		require.Equal(t, Skeleton(same[0]), Skeleton(same[1]))
	}
	require.NotEqual(t, Skeleton("trust: marker set"), Skeleton("trust: marker cleared"))
	require.Equal(t, "WARN  trust: marker cleared", Skeleton(`11:00:33.770 WARN  trust: marker cleared reason="found set, and \"so\" on" n=1`))
	require.Equal(t, "INFO  status lag drift", Skeleton(`11:00:33.770 INFO  status lag=1s drift=-3`))
}

func TestMissing(t *testing.T) {
	printed := []string{"a 1", "b", "c 2"}
	require.Empty(t, Missing([]string{"a 7", "c 9"}, printed))
	require.Equal(t, "a 7", Missing([]string{"c 9", "a 7"}, printed))
	require.Equal(t, "d", Missing([]string{"b", "d"}, printed))
	renewed, missing := Renew([]string{"a 7", "…", "c 9"}, printed)
	require.Empty(t, missing)
	require.Equal(t, []string{"a 1", "…", "c 2"}, renewed)
}
