package inject

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const examplesFolder = "../../../examples"

// The manifests that users are given come out injected, with the configuration that
// stands beside them, and the second time nothing is left to do.
func TestExamples(t *testing.T) {
	arguments := []string{"--config", examplesFolder + "/config.yaml"}
	files, err := filepath.Glob(examplesFolder + "/[0-2]*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		arguments = append(arguments, "-f", file)
	}
	stdout, stderr, err := run("", arguments...)
	require.NoError(t, err, stderr)
	for _, workload := range []string{
		"10-go-server.yaml: document 3 (line 30): Deployment/orders: injected with role server",
		"11-client-job.yaml: document 2 (line 13): Job/smoke-test: injected with role client",
		"Deployment/edge: injected with role server",
		"Deployment/reports: injected with role client",
		"Deployment/cart: injected with role both",
		"StatefulSet/db: injected with role server",
		"Deployment/ledger: injected with role ",
		`Pod/debug: left alone: the annotation mtls.example.io/role is "none"`,
	} {
		assert.Contains(t, stderr, workload)
	}
	again, stderr, err := run(stdout, "--config", examplesFolder+"/config.yaml", "-f", "-")
	require.NoError(t, err)
	assert.Equal(t, stdout, again)
	assert.NotContains(t, stderr, ": injected")
}

func TestExampleThatIsRefused(t *testing.T) {
	stdout, stderr, err := run("", "--config", examplesFolder+"/config.yaml", "-f", examplesFolder+"/30-refused.yaml", "-q")
	require.EqualError(t, err, "the input is wrong, so nothing was printed")
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, "Pod/refused: metadata.annotations[mtls.example.io/key-algoritm]: Invalid value: \"mtls.example.io/key-algoritm\": "+
		"unknown annotation; did you mean \"mtls.example.io/key-algorithm\"?\n")
	for line := range strings.Lines(stderr) {
		assert.True(t, strings.HasPrefix(line, "error: "+examplesFolder+"/30-refused.yaml: document 1 (line "), line)
	}
}
