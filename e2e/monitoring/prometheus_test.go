package monitoring

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	texttemplate "text/template"

	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/internal/binaries"
)

// server is a running Prometheus.
type server struct{ base string }

// sample is a series with its present value.
type sample struct {
	Labels map[string]string
	Value  float64
}

// runPrometheus runs Prometheus for the time of the test. The configuration is a template of
// the scene's folder, with data.
func runPrometheus(t *testing.T, data any) *server {
	t.Helper()
	programs, err := programs()
	require.NoError(t, err)
	controlPlane, err := binaries.EnsureControlPlane(t.Context(), clustertest.Stderr)
	require.NoError(t, err)
	dir := t.TempDir()
	tmpl, err := texttemplate.ParseFiles("testdata/scene/prometheus.yaml.tmpl")
	require.NoError(t, err)
	config, err := os.Create(filepath.Join(dir, "prometheus.yaml"))
	require.NoError(t, err)
	require.NoError(t, tmpl.Execute(config, data))
	require.NoError(t, config.Close())
	log, err := os.Create(filepath.Join(dir, "prometheus.log"))
	require.NoError(t, err)

	s := &server{base: freeAddress(t)}
	cmd := exec.Command(controlPlane.Tether, "exec", programs.Server, "--config.file="+config.Name(), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+s.base, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		_ = cmd.Wait()
		require.NoError(t, log.Close())
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("Prometheus says:\n%s", text)
		}
	})
	return s
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, listener.Close()) }()
	return listener.Addr().String()
}

// ask calls Prometheus's HTTP API and decodes the data of the answer.
func (s *server) ask(ctx context.Context, path string, args url.Values, data any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.base+"/api/v1/"+path+"?"+args.Encode(), nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	answer := struct {
		Status, Error string
		Warnings      []string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if answer.Status != "success" || len(answer.Warnings) > 0 {
		return fmt.Errorf("%s %s: %s %q", path, args, answer.Error, answer.Warnings)
	}
	return nil
}

// query evaluates an expression now.
func (s *server) query(ctx context.Context, expr string) ([]sample, error) {
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	if err := s.ask(ctx, "query", url.Values{"query": {expr}}, &data); err != nil {
		return nil, err
	}
	samples := make([]sample, len(data.Result))
	for i, r := range data.Result {
		text, _ := r.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", expr, err)
		}
		samples[i] = sample{r.Metric, value}
	}
	return samples, nil
}

// selectors returns the selectors of series in an expression, by Prometheus's own parser.
func (s *server) selectors(ctx context.Context, expr string) ([]string, error) {
	var tree any
	if err := s.ask(ctx, "parse_query", url.Values{"query": {expr}}, &tree); err != nil {
		return nil, err
	}
	return selectorsIn(tree), nil
}

func selectorsIn(node any) []string {
	var all []string
	switch node := node.(type) {
	case []any:
		for _, child := range node {
			all = append(all, selectorsIn(child)...)
		}
	case map[string]any:
		if matchers, ok := node["matchers"].([]any); ok {
			return []string{selector(matchers)}
		}
		for _, child := range node {
			all = append(all, selectorsIn(child)...)
		}
	}
	return all
}

// selector writes matchers as Prometheus reads them.
func selector(matchers []any) string {
	text := ""
	for _, m := range matchers {
		if m, ok := m.(map[string]any); ok {
			text += fmt.Sprintf("%v%v%q,", m["name"], m["type"], m["value"])
		}
	}
	return "{" + text + "}"
}
