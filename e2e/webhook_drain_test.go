package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionreview "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/intent"
)

// TestWebhookRollsWithoutALoss replaces an instance by another, as a rolling update does,
// while pods are being made all the time.
func TestWebhookRollsWithoutALoss(t *testing.T) {
	first := runWebhook(t, shared, cluster.WebhookOptions{Name: "rolling", Args: []string{"--drain-delay=8s"}})
	second := runWebhook(t, shared, cluster.WebhookOptions{Name: "rolling-2", Unregistered: true})
	namespace := clustertest.Namespace(t, shared, nil)
	load := startLoad(t, namespace)
	served := func(w *cluster.Webhook, n int) {
		from := total(t, w)
		require.NoError(t, shared.WaitFor(t.Context(), "more pods", func(context.Context) error {
			if got := total(t, w) - from; got < n {
				return fmt.Errorf("%d of %d", got, n)
			}
			return nil
		}))
	}
	served(first, 20)
	require.NoError(t, syscall.Kill(first.PID, syscall.SIGTERM))
	require.NoError(t, shared.WaitFor(t.Context(), "it to say that it is not ready", func(ctx context.Context) error {
		if code := statusOf(ctx, first.HealthURL+"/readyz"); code != http.StatusInternalServerError {
			return fmt.Errorf("/readyz answers %d", code)
		}
		return nil
	}))
	assert.Equal(t, http.StatusOK, statusOf(t.Context(), first.HealthURL+"/healthz"), "alive, though not ready")
	served(first, 20) // the cluster has not learnt of it
	redirect(t, "rolling", second)
	served(second, 20)
	waitForEnd(t, first)
	served(second, 20)
	assert.Empty(t, load.stop(), "creations that failed")
}

// load makes pods until it is stopped.
type load struct {
	done   chan struct{}
	group  sync.WaitGroup
	mu     sync.Mutex
	failed []error
}

func startLoad(t *testing.T, namespace string) *load {
	t.Helper()
	l := &load{done: make(chan struct{})}
	for range 4 {
		l.group.Go(func() {
			for {
				select {
				case <-l.done:
					return
				default:
					l.one(t.Context(), namespace)
				}
			}
		})
	}
	return l
}

func (l *load) one(ctx context.Context, namespace string) {
	pod := podWith(namespace, map[string]string{"role": "client"})
	err := shared.Client.Create(ctx, pod, client.DryRunAll)
	if err == nil && pod.Labels[intent.LabelInjected] == "" {
		err = errors.New("the pod is not injected")
	}
	if err != nil {
		l.mu.Lock()
		l.failed = append(l.failed, err)
		l.mu.Unlock()
	}
}

// stop returns the errors that there were.
func (l *load) stop() []error {
	close(l.done)
	l.group.Wait()
	return l.failed
}

// TestWebhookAnswersWhatItHasBegun: a request that is half read at SIGTERM is answered.
func TestWebhookAnswersWhatItHasBegun(t *testing.T) {
	w := runWebhook(t, shared, cluster.WebhookOptions{Name: "begun", Unregistered: true})
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(w.CABundle))
	caller := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, ForceAttemptHTTP2: true}}
	raw, err := json.Marshal(podWith("default", nil))
	require.NoError(t, err)
	review := fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1","kind":{"version":"v1","kind":"Pod"},`+
		`"resource":{"version":"v1","resource":"pods"},"namespace":"default","operation":"CREATE","object":%s}}`, raw)
	body, rest := io.Pipe()
	answers := make(chan answer, 1)
	go func() { answers <- ask(t.Context(), caller, w.URL, body) }()
	_, err = io.WriteString(rest, review[:len(review)/2])
	require.NoError(t, err)
	require.NoError(t, shared.WaitFor(t.Context(), "the request to be read", func(context.Context) error {
		inFlight := samples(t, w, `^(mtls_injector_admissions_in_flight)() (\d+)$`)["mtls_injector_admissions_in_flight/"]
		if inFlight != 1 {
			return fmt.Errorf("%d in flight", inFlight)
		}
		return nil
	}))
	require.NoError(t, syscall.Kill(w.PID, syscall.SIGTERM))
	require.NoError(t, shared.WaitFor(t.Context(), "no new connections to be taken", func(ctx context.Context) error {
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", addressOf(w.URL))
		if err == nil {
			return errors.Join(errors.New("one is"), connection.Close())
		}
		return nil
	}))
	_, err = io.WriteString(rest, review[len(review)/2:])
	require.NoError(t, err)
	require.NoError(t, rest.Close())
	got := <-answers
	require.NoError(t, got.err)
	assert.Equal(t, http.StatusOK, got.code)
	assert.Equal(t, types.UID("u-1"), got.review.Response.UID)
	assert.True(t, got.review.Response.Allowed)
	waitForEnd(t, w)
}

// answer is what the webhook says to a review.
type answer struct {
	code   int
	review admissionreview.AdmissionReview
	err    error
}

// ask sends a review, as the API server does, and waits for the answer.
func ask(ctx context.Context, caller *http.Client, url string, body io.Reader) (a answer) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return answer{err: err}
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := caller.Do(request)
	if err != nil {
		return answer{err: err}
	}
	defer func() { _ = response.Body.Close() }()
	a.code = response.StatusCode
	a.err = json.NewDecoder(response.Body).Decode(&a.review)
	return a
}
