package monitoring

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const dashboardFile = "../../charts/mtls-injector/files/dashboard.json"

// dashboard is what is looked at of a Grafana dashboard.
type dashboard struct {
	Panels        []panel
	SchemaVersion int
	Templating    struct{ List []variable }
}

type variable struct {
	Name, Type, Definition string
}

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               datasource
	Targets                  []target
}

type target struct {
	RefID      string `json:"refId"`
	Expr       string
	Datasource datasource
}

type datasource struct{ Type, UID string }

func readDashboard(t *testing.T) *dashboard {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	require.NoError(t, err)
	var d dashboard
	require.NoError(t, json.Unmarshal(text, &d))
	require.NotEmpty(t, d.Panels)
	return &d
}

// expand replaces Grafana's variables as Grafana does when all is chosen.
func expand(expr string) string {
	return strings.NewReplacer("$job", "mtls-injector-metrics", "$namespace", ".*", "$role", "server|client|both",
		"$__rate_interval", "10s").Replace(expr)
}

func TestDashboardIsWellFormed(t *testing.T) {
	d := readDashboard(t)
	assert.GreaterOrEqual(t, d.SchemaVersion, 39, "of Grafana 11")
	ids, titles, cells := map[int]bool{}, map[string]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		assert.False(t, ids[p.ID], "the id %d is there twice", p.ID)
		assert.False(t, titles[p.Title], "the title %s is there twice", p.Title)
		ids[p.ID], titles[p.Title] = true, true
		assert.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				assert.Empty(t, cells[[2]int{x, y}], "%s lies on another panel", p.Title)
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		assert.NotEmpty(t, p.Description, p.Title)
		assert.NotEmpty(t, p.Targets, p.Title)
		assert.Equal(t, datasource{"prometheus", "${datasource}"}, p.Datasource, p.Title)
		for _, target := range p.Targets {
			assert.Equal(t, p.Datasource, target.Datasource, p.Title)
			assert.NotContains(t, expand(target.Expr), "$__", p.Title)
		}
	}
}
