package binaries

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPrometheusOperatorCRDs(t *testing.T) {
	dir, err := PrometheusOperatorCRDs(t.Context())
	require.NoError(t, err)
	for _, kind := range []string{"servicemonitors", "podmonitors", "prometheusrules"} {
		assert.FileExists(t, filepath.Join(dir, "monitoring.coreos.com_"+kind+".yaml"))
	}
}
