package release_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/internal/binaries"
	"example.io/mtls-injector/e2e/page"
	"example.io/mtls-injector/e2e/release"
)

// leaf returns the first certificate of a chain in PEM, as DER.
func leaf(t *testing.T, chain []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(chain)
	require.NotNil(t, block)
	return block.Bytes
}

// servedBy returns the certificate that a server shows, as DER, whoever signed it.
func servedBy(ctx context.Context, address string) ([]byte, error) {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw, nil
}

// awaitInjected waits until pods of the namespace are injected.
func awaitInjected(t *testing.T, namespace string) {
	t.Helper()
	require.NoError(t, stage.WaitFor(t.Context(), "pods to be injected", func(ctx context.Context) error { return admit(ctx, namespace) }))
}

// admit creates a pod as a dry run and wants it injected.
func admit(ctx context.Context, namespace string) error {
	pod := server(namespace)
	if err := stage.Client.Create(ctx, pod, client.DryRunAll); err != nil {
		return err
	}
	if !isInjected(pod) {
		return errors.New("a pod came out as it was")
	}
	return nil
}

// pageOf returns a function that runs the commands that a page of the documentation has under
// a name, where there are the chart, the examples and the release's values. It wants what the page
// shows to be printed, and returns all that is.
func pageOf(t *testing.T, file string) func(name string) string {
	t.Helper()
	root := filepath.Dir(filepath.Dir(stage.Chart))
	steps, err := page.Steps(filepath.Join(root, file))
	require.NoError(t, err)
	dir := t.TempDir()
	for _, folder := range []string{"charts", "examples"} {
		require.NoError(t, os.Symlink(filepath.Join(root, folder), filepath.Join(dir, folder)))
	}
	product, err := binaries.EnsureProduct(t.Context(), nil)
	require.NoError(t, err)
	shell, err := page.NewShell(dir, t.TempDir(), stage.Kubeconfig, map[string]string{
		"helm": stage.Helm.Path, "kubectl": stage.Kubectl, "kubectl-mtls": product.Plugin,
	})
	require.NoError(t, err)
	return func(name string) string {
		t.Helper()
		at := slices.IndexFunc(steps, func(step page.Step) bool { return step.Name == name })
		require.GreaterOrEqual(t, at, 0, "%s has no commands called %s", file, name)
		values, err := stage.Helm.Run(t.Context(), "get", "values", release.Name, "-n", release.Namespace, "-o", "yaml")
		if err != nil {
			values = "{}" // there is no release yet
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, "values.yaml"), []byte(values), 0o600))
		out, err := shell.Run(t.Context(), steps[at].Script)
		require.NoError(t, err)
		require.Empty(t, steps[at].Missing(out), "%s printed\n%s", name, out)
		return out
	}
}
