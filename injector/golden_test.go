package injector_test

import (
	stdjson "encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden is what a golden file holds: all that comes out for one pod.
type golden struct {
	Warnings []string `json:"warnings"`
	// Patch are the operations, Pod is the pod that they make.
	Patch stdjson.RawMessage `json:"patch"`
	Pod   stdjson.RawMessage `json:"pod"`
}

// goldenCase is a pod of testdata/pods with what makes it a case of its own.
type goldenCase struct {
	pod         string
	annotations map[string]string
	// configure changes the configuration's defaults.
	configure func(*intent.Defaults)
}

// goldenCases has a case for every cell of the design's table "what a pod gets", and for
// everything that changes the shape of what is injected.
func goldenCases() map[string]goldenCase {
	cases := map[string]goldenCase{
		"agent":               {pod: "bare", annotations: map[string]string{"role": "client", "agent": "true"}},
		"agent-before-others": {pod: "sidecars", annotations: map[string]string{"role": "both", "agent": "true", "delivery": "secret", "mount-path": "/certs", "fs-group": "4242"}},
		"agent-signal":        {pod: "nonroot", annotations: map[string]string{"role": "server", "reload": "signal", "reload-process": "nginx"}},
		"agent-url":           {pod: "web", annotations: map[string]string{"role": "server", "reload": "signal", "reload-url": "http://localhost:9901/reload", "ca-bundle": "ClusterTrustBundle/mtls"}},
		"agent-without-limits": {pod: "web", annotations: map[string]string{"role": "client", "agent": "true"}, configure: func(d *intent.Defaults) {
			d.Agent = intent.AgentDefaults{Image: "registry.example.com/agent@sha256:0123", ImagePullPolicy: "Always", StartTimeout: time.Minute}
		}},
		"bundle-cluster-trust":        {pod: "web", annotations: map[string]string{"role": "server", "ca-bundle": "ClusterTrustBundle/mtls.example.io:ca:bundle"}},
		"bundle-cluster-trust-secret": {pod: "web", annotations: map[string]string{"role": "server", "ca-bundle": "ClusterTrustBundle/mtls", "delivery": "secret", "mount-path": "/certs"}},
		"bare":                        {pod: "bare", annotations: map[string]string{"role": "server"}},
		"companion-none":              {pod: "web", annotations: map[string]string{"role": "client", "companion": "false"}},
		"containers-one":              {pod: "web", annotations: map[string]string{"role": "server", "containers": "app"}},
		"containers-excluded":         {pod: "web", annotations: map[string]string{"role": "server", "exclude-containers": "migrate"}},
		"copied":                      {pod: "copied", annotations: map[string]string{"role": "server"}},
		"env-all":                     {pod: "bare", annotations: map[string]string{"role": "both", "env": "mtls,openssl,curl,python,node,grpc,postgres,aws"}},
		"env-none":                    {pod: "web", annotations: map[string]string{"role": "server", "env": "none"}},
		"env-postgres-client-secret":  {pod: "bare", annotations: map[string]string{"role": "client", "env": "postgres", "delivery": "secret"}},
		"env-postgres-server":         {pod: "bare", annotations: map[string]string{"role": "server", "env": "postgres", "delivery": "secret"}},
		"fs-group":                    {pod: "web", annotations: map[string]string{"role": "server", "fs-group": "4242"}},
		"key-ed25519":                 {pod: "web", annotations: map[string]string{"role": "client", "key-algorithm": "ed25519"}},
		"key-rsa-subject":             {pod: "web", annotations: map[string]string{"role": "server", "key-algorithm": "RSA", "key-size": "4096", "organizations": "Shop & Co,Example", "organizational-units": "Web", "duration": "90m", "renew-before": "45m"}},
		"opinionated":                 {pod: "opinionated", annotations: map[string]string{"role": "server", "delivery": "secret"}},
		"opinionated-pre-stop-long":   {pod: "opinionated", annotations: map[string]string{"role": "both", "pre-stop-seconds": "3600"}},
		"pre-stop-client":             {pod: "web", annotations: map[string]string{"role": "client", "pre-stop-seconds": "45"}},
		"pre-stop-exec":               {pod: "sidecars", annotations: map[string]string{"role": "server"}, configure: func(d *intent.Defaults) { d.PreStop.Method = intent.PreStopExec }},
		"pre-stop-off":                {pod: "web", annotations: map[string]string{"role": "server", "pre-stop-seconds": "0"}},
		"probes-tcp":                  {pod: "sidecars", annotations: map[string]string{"role": "server", "probes": "tcp"}},
		"sidecars-secret":             {pod: "sidecars", annotations: map[string]string{"role": "both", "delivery": "secret", "mount-path": "/certs"}},
		"sidecars-server":             {pod: "sidecars", annotations: map[string]string{"role": "server"}},
	}
	for _, role := range []string{"server", "client", "both"} {
		for _, delivery := range []string{"csi", "secret"} {
			annotations := map[string]string{"role": role, "delivery": delivery}
			cases["table-"+role+"-"+delivery] = goldenCase{pod: "web", annotations: annotations}
			annotations = maps.Clone(annotations)
			annotations["mount-path"] = "/certs"
			cases["table-"+role+"-"+delivery+"-mount-path"] = goldenCase{pod: "web", annotations: annotations}
		}
	}
	return cases
}

func TestGolden(t *testing.T) {
	for name, c := range goldenCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := defaults()
			if c.configure != nil {
				c.configure(d)
			}
			raw := readPod(t, c.pod, c.annotations)
			in := resolve(t, d, decode(t, raw))
			result := injector.Patch(decode(t, raw), in)
			require.Empty(t, result.Errors)
			patched := apply(t, raw, &result)
			strictly(t, patched)

			document, err := injector.AppendJSON(nil, result.Operations)
			require.NoError(t, err)
			compareGolden(t, name, golden{Warnings: result.Warnings, Patch: document, Pod: patched})

			requireNothingToDo(t, patched, in)
			again := betweenCalls(t, patched)
			requireNothingToDo(t, again, in)
			requireNothingToDo(t, again, resolve(t, d, decode(t, again)))
		})
	}
}

// requireNothingToDo runs the injector on a pod that has everything.
func requireNothingToDo(t *testing.T, raw []byte, in *intent.Intent) {
	t.Helper()
	second := injector.Patch(decode(t, raw), in)
	document, err := injector.AppendJSON(nil, second.Operations)
	require.NoError(t, err)
	assert.Equal(t, "[]", string(document))
	assert.Empty(t, second.Errors)
}

func compareGolden(t *testing.T, name string, got golden) {
	t.Helper()
	text, err := yaml.Marshal(got)
	require.NoError(t, err)
	file := filepath.Join("testdata", "golden", name+".yaml")
	if *update {
		require.NoError(t, os.WriteFile(file, text, 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "run with -update to make it")
	assert.Empty(t, cmp.Diff(string(want), string(text)), "run with -update to accept")
}

// TestGoldenFiles says when a golden file has outlived its case.
func TestGoldenFiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "golden", "*.yaml"))
	require.NoError(t, err)
	var want []string
	for name := range goldenCases() {
		want = append(want, filepath.Join("testdata", "golden", name+".yaml"))
	}
	slices.Sort(want)
	assert.Equal(t, want, files)
}
