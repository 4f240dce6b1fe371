package check

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
)

// The Compose file follows the schema; what it serves is served to this machine only, and what it mounts is there.
func TestCompose(t *testing.T) {
	options, err := cli.NewProjectOptions([]string{"../compose.yaml"}, cli.WithoutEnvironmentResolution)
	require.NoError(t, err)
	p, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"postgres", "awa-counterd", "prometheus", "grafana"}, p.ServiceNames())
	for _, s := range p.Services {
		for _, port := range s.Ports {
			require.True(t, net.ParseIP(port.HostIP).IsLoopback(), "%s is open to others", s.Name)
		}
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind {
				_, err := os.Stat(v.Source)
				require.NoError(t, err, s.Name)
			}
		}
	}
	daemon := p.Services["awa-counterd"]
	require.True(t, daemon.ReadOnly)
	require.Equal(t, []string{"ALL"}, daemon.CapDrop)
	require.FileExists(t, filepath.Join(daemon.Build.Context, daemon.Build.Dockerfile))
}
