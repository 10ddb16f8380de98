package release_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/internal/binaries"
	"example.io/mtls-injector/e2e/release"
)

// TestBreakGlass runs the commands of docs/operations.md that take the webhook out of the way,
// and those that put it back.
func TestBreakGlass(t *testing.T) {
	install(t)
	ns := optedIn(t)
	run := operations(t)

	t.Run("pods start without an answer, and then don't", func(t *testing.T) {
		_, err := stage.Upgrade(t.Context(), "--reuse-values", "--set", "replicaCount=0")
		require.NoError(t, err)
		awaitNobody(t)
		run("ignore")
		awaitUninjected(t, ns)
		run("fail")
		assert.Equal(t, admissionv1.Fail, *mutating(t).Webhooks[0].FailurePolicy)
		_, err = stage.Upgrade(t.Context(), "--reuse-values", "--set", "replicaCount=2")
		require.NoError(t, err, "Helm minds none of it")
		awaitInjected(t, ns)
	})
	t.Run("it is asked no more, and then is", func(t *testing.T) {
		run("away")
		awaitUninjected(t, ns)
		run("back")
		awaitInjected(t, ns)
		assert.Equal(t, admissionv1.Fail, *mutating(t).Webhooks[0].FailurePolicy)
		var validating admissionv1.ValidatingWebhookConfiguration
		require.NoError(t, stage.Client.Get(t.Context(), client.ObjectKey{Name: release.Name}, &validating))
	})
}

// operations returns a function that runs the commands that docs/operations.md has under a name,
// where there are the chart and the release's values.
func operations(t *testing.T) func(name string) {
	t.Helper()
	root, err := binaries.Root(t.Context())
	require.NoError(t, err)
	page, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	require.NoError(t, err)
	values, err := stage.Helm.Run(t.Context(), "get", "values", release.Name, "-n", release.Namespace, "-o", "yaml")
	require.NoError(t, err)

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "values.yaml"), []byte(values), 0o600))
	for from, to := range map[string]string{filepath.Dir(stage.Chart): "charts", stage.Helm.Path: "helm", stage.Kubectl: "kubectl"} {
		require.NoError(t, os.Symlink(from, filepath.Join(dir, to)))
	}
	return func(name string) {
		t.Helper()
		script := regexp.MustCompile("(?s)<!-- sh: " + name + " -->\n```sh\n(.*?)\n```\n").FindSubmatch(page)
		require.NotNil(t, script, name)
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", string(script[1]))
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+dir+string(filepath.ListSeparator)+os.Getenv("PATH"), "KUBECONFIG="+stage.Kubeconfig,
			"HOME="+dir, "XDG_CACHE_HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s\n%s", script[1], out)
	}
}

// awaitUninjected waits until pods of the namespace start as they are.
func awaitUninjected(t *testing.T, namespace string) {
	t.Helper()
	require.NoError(t, stage.WaitFor(t.Context(), "pods to start as they are", func(ctx context.Context) error {
		pod := server(namespace)
		if err := stage.Client.Create(ctx, pod, client.DryRunAll); err != nil {
			return err
		}
		if isInjected(pod) {
			return errors.New("a pod is injected")
		}
		return nil
	}))
}
