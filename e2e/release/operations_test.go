package release_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/certs"
	"example.io/mtls-injector/e2e/page"
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
		awaitNobody(t, ns)
		run(t, "ignore")
		awaitUninjected(t, ns)
		run(t, "fail")
		assert.Equal(t, admissionv1.Fail, policyForPods(t))
		_, err = stage.Upgrade(t.Context(), "--reuse-values", "--set", "replicaCount=2")
		require.NoError(t, err, "Helm minds none of it")
		awaitInjected(t, ns)
	})
	t.Run("it is asked no more, and then is", func(t *testing.T) {
		run(t, "away")
		awaitUninjected(t, ns)
		run(t, "back")
		awaitInjected(t, ns)
		assert.Equal(t, admissionv1.Fail, policyForPods(t))
		var validating admissionv1.ValidatingWebhookConfiguration
		require.NoError(t, stage.Client.Get(t.Context(), client.ObjectKey{Name: release.Name}, &validating))
	})
}

// TestRemoveTheRest runs the commands of docs/operations.md that remove what an uninstalled
// release leaves behind.
func TestRemoveTheRest(t *testing.T) {
	install(t)
	ns := optedIn(t)
	run := operations(t)
	deploy(t, ns)
	_, err := stage.WaitForCertificate(t.Context(), ns, "web-mtls")
	require.NoError(t, err)
	uninstall(t)

	run(t, "remove")
	ours := client.MatchingLabels{certs.LabelCertType: certs.CertTypeMTLS}
	var companions cmapi.CertificateList
	require.NoError(t, stage.Client.List(t.Context(), &companions, ours))
	assert.Empty(t, companions.Items)
	var secrets corev1.SecretList
	require.NoError(t, stage.Client.List(t.Context(), &secrets, ours))
	assert.Empty(t, secrets.Items)
	err = stage.Client.Get(t.Context(), client.ObjectKey{Name: release.Namespace}, &corev1.Namespace{})
	require.ErrorContains(t, err, `namespaces "mtls-injector" not found`)
}

// operations returns a function that runs the commands that docs/operations.md has under a name,
// where there are the chart and the release's values.
func operations(t *testing.T) func(t *testing.T, name string) {
	t.Helper()
	charts := filepath.Dir(stage.Chart)
	scripts, err := page.Scripts(filepath.Join(charts, "..", "docs", "operations.md"))
	require.NoError(t, err)
	values, err := stage.Helm.Run(t.Context(), "get", "values", release.Name, "-n", release.Namespace, "-o", "yaml")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "values.yaml"), []byte(values), 0o600))
	require.NoError(t, os.Symlink(charts, filepath.Join(dir, "charts")))
	shell, err := page.NewShell(dir, t.TempDir(), stage.Kubeconfig, map[string]string{"helm": stage.Helm.Path, "kubectl": stage.Kubectl})
	require.NoError(t, err)
	return func(t *testing.T, name string) {
		t.Helper()
		require.Contains(t, scripts, name)
		_, err := shell.Run(t.Context(), scripts[name])
		require.NoError(t, err)
	}
}

// policyForPods returns what holds for pods while nobody answers.
func policyForPods(t *testing.T) admissionv1.FailurePolicyType {
	t.Helper()
	var config admissionv1.MutatingWebhookConfiguration
	require.NoError(t, stage.Client.Get(t.Context(), client.ObjectKey{Name: release.Name}, &config))
	require.Len(t, config.Webhooks, 1)
	return *config.Webhooks[0].FailurePolicy
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
