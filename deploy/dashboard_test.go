package deploy

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/monitor"
)

// Every panel says what it is for, lies within the 24 columns and over no other, and asks the Prometheus that was chosen, for the job
// that was chosen.
func TestDashboard(t *testing.T) {
	board, err := monitor.Dashboard(dashboardFile)
	require.NoError(t, err)
	require.Equal(t, "awa-counterd", board.UID)
	var variables []string
	for _, v := range board.Templating.List {
		variables = append(variables, v.Name+" "+v.Type)
	}
	require.Equal(t, []string{"datasource datasource", "job query"}, variables)
	ids, cells := make(map[int]bool), make(map[[2]int]string)
	for _, p := range board.Panels {
		require.False(t, ids[p.ID], p.Title)
		ids[p.ID] = true
		require.NotEmpty(t, p.Title)
		require.NotEmpty(t, p.Description, p.Title)
		require.Contains(t, []string{"stat", "timeseries", "state-timeline"}, p.Type, p.Title)
		require.Equal(t, "${datasource}", p.Datasource.UID, p.Title)
		require.LessOrEqual(t, p.Grid.X+p.Grid.W, 24, p.Title)
		for x := p.Grid.X; x < p.Grid.X+p.Grid.W; x++ {
			for y := p.Grid.Y; y < p.Grid.Y+p.Grid.H; y++ {
				require.Empty(t, cells[[2]int{x, y}], "%s lies over it", p.Title)
				cells[[2]int{x, y}] = p.Title
			}
		}
		require.NotEmpty(t, p.Targets, p.Title)
		refs := make(map[string]bool)
		for _, x := range p.Targets {
			require.Contains(t, x.Expr, `job=~"$job"`, p.Title)
			require.False(t, refs[x.RefID], p.Title)
			refs[x.RefID] = true
		}
	}
}
