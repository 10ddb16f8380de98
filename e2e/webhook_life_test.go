package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/internal/atomicdir"
	"example.io/mtls-injector/intent"
)

// TestWebhookDown: without the webhook, opted-in pods wait and nothing else does.
func TestWebhookDown(t *testing.T) {
	w := runWebhook(t, shared, cluster.WebhookOptions{Name: "going-down"})
	optedIn := clustertest.Namespace(t, shared, nil)
	other, err := shared.CreateNamespace(t.Context(), "test-", nil, nil)
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(w.PID, syscall.SIGKILL))
	waitForEnd(t, w)

	err = shared.Client.Create(t.Context(), podWith(optedIn, nil))
	require.ErrorContains(t, err, `failed calling webhook "pods.going-down.example.io"`)
	assert.True(t, apierrors.IsInternalError(err), "not the user's fault: %v", err)
	require.NoError(t, shared.Client.Create(t.Context(), podWith(other.Name, map[string]string{"role": "client"})))
}

// waitForEnd waits until the webhook's process is gone.
func waitForEnd(t *testing.T, w *cluster.Webhook) {
	t.Helper()
	require.NoError(t, shared.WaitFor(t.Context(), "the process to end", func(context.Context) error {
		if err := syscall.Kill(w.PID, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("it runs: %w", err)
		}
		return nil
	}))
}

// TestWebhookReadsItsConfigurationAgain changes the file as the kubelet changes a mounted
// ConfigMap: to another one, to a wrong one, and to a third.
func TestWebhookReadsItsConfigurationAgain(t *testing.T) {
	folder := t.TempDir()
	write := func(text string) {
		text = "apiVersion: config.mtls.example.io/v1alpha1\nkind: InjectorConfiguration\n" + text
		files := map[string]atomicdir.File{"injector.yaml": {Data: []byte(text), Mode: 0o644}}
		require.NoError(t, atomicdir.Write(folder, files, atomicdir.Options{Mode: 0o755, GID: int64(syscall.Getgid())}))
	}
	write("issuer: {name: first}")
	w := runWebhook(t, shared, cluster.WebhookOptions{Config: filepath.Join(folder, "injector.yaml")})
	namespace := clustertest.Namespace(t, shared, nil)
	issuer := func(ctx context.Context) (string, error) {
		pod := podWith(namespace, map[string]string{"role": "client"})
		err := shared.Client.Create(ctx, pod, client.DryRunAll)
		return seeStatus("issuer")(&admitted{Pod: pod}), err
	}
	becomes := func(want string) {
		t.Helper()
		require.NoError(t, shared.WaitFor(t.Context(), "the issuer "+want, func(ctx context.Context) error {
			if got, err := issuer(ctx); got != want || err != nil {
				return fmt.Errorf("it is %q: %w", got, err)
			}
			return nil
		}))
	}
	failures := func() int {
		return samples(t, w, `^mtls_injector_config_reloads_total\{(result)="(failure)"\} (\d+)$`)["result/failure"]
	}
	becomes("ClusterIssuer/first")
	write("issuer: {name: second}")
	becomes("ClusterIssuer/second")

	require.Zero(t, failures())
	write("issuer: {name: third, colour: red}")
	require.NoError(t, shared.WaitFor(t.Context(), "the wrong configuration to be noticed", func(context.Context) error {
		if failures() == 0 {
			return errors.New("no failure is counted")
		}
		return nil
	}))
	got, err := issuer(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "ClusterIssuer/second", got, "the last good one is kept")
	assert.Equal(t, http.StatusOK, statusOf(t.Context(), w.HealthURL+"/readyz"))
	write("issuer: {name: fourth}")
	becomes("ClusterIssuer/fourth")
}

// TestWebhookPicksUpItsNewCertificate renews the serving certificate, with a new CA, as
// cert-manager does in a mounted Secret.
func TestWebhookPicksUpItsNewCertificate(t *testing.T) {
	folder := t.TempDir()
	renew := func() (ca []byte) {
		cert, key, err := certutil.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
		require.NoError(t, err)
		files := map[string]atomicdir.File{"tls.crt": {Data: cert, Mode: 0o600}, "tls.key": {Data: key, Mode: 0o600}}
		require.NoError(t, atomicdir.Write(folder, files, atomicdir.Options{Mode: 0o755, GID: int64(syscall.Getgid())}))
		return cert
	}
	before := renew()
	w := runWebhook(t, shared, cluster.WebhookOptions{Name: "renewed", Unregistered: true, Args: []string{"--cert-dir", folder}})
	require.NoError(t, shared.RegisterWebhook(t.Context(), w.Name, w.URL, before))
	namespace := clustertest.Namespace(t, shared, nil)
	injects := func(ctx context.Context) error {
		pod := podWith(namespace, map[string]string{"role": "client"})
		if err := shared.Client.Create(ctx, pod, client.DryRunAll); err != nil {
			return err
		}
		if pod.Labels[intent.LabelInjected] == "" {
			return errors.New("the pod is not injected")
		}
		return nil
	}
	require.NoError(t, shared.WaitFor(t.Context(), "pods under the first certificate", injects))

	after := renew()
	require.False(t, bytes.Equal(before, after))
	// The API server trusts only the new CA now, so it makes a new connection.
	reroute(t, w.Name, func(config *admissionv1.WebhookClientConfig) { config.CABundle = after })
	require.NoError(t, shared.WaitFor(t.Context(), "pods under the second certificate", injects))
	old, renewed := x509.NewCertPool(), x509.NewCertPool()
	require.True(t, old.AppendCertsFromPEM(before))
	require.True(t, renewed.AppendCertsFromPEM(after))
	require.NoError(t, handshake(t.Context(), w.URL, renewed))
	require.ErrorAs(t, handshake(t.Context(), w.URL, old), new(x509.UnknownAuthorityError), "the first certificate is no longer served")
}

// handshake connects to the webhook, trusting the roots only.
func handshake(ctx context.Context, url string, roots *x509.CertPool) error {
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}
	connection, err := dialer.DialContext(ctx, "tcp", addressOf(url))
	if err != nil {
		return err
	}
	return connection.Close()
}

func addressOf(url string) string {
	return strings.TrimSuffix(strings.TrimPrefix(url, "https://"), "/mutate-v1-pod")
}

// redirect makes the API server call another instance.
func redirect(t *testing.T, registration string, to *cluster.Webhook) {
	t.Helper()
	reroute(t, registration, func(config *admissionv1.WebhookClientConfig) {
		config.URL, config.CABundle = &to.URL, to.CABundle
	})
}

func reroute(t *testing.T, registration string, change func(*admissionv1.WebhookClientConfig)) {
	t.Helper()
	config := &admissionv1.MutatingWebhookConfiguration{}
	require.NoError(t, shared.Client.Get(t.Context(), types.NamespacedName{Name: registration}, config))
	change(&config.Webhooks[0].ClientConfig)
	require.NoError(t, shared.Client.Update(t.Context(), config))
}

// statusOf returns the answer's status, or 0 when there is none.
func statusOf(ctx context.Context, url string) int {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	defer func() { _ = response.Body.Close() }()
	return response.StatusCode
}
