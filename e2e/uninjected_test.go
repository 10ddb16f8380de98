package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/intent"
)

// tellsNotInjected waits until the metrics of pods that are not injected have that number
// for the namespace; with zero there is no series, though pods were counted.
func tellsNotInjected(t *testing.T, w *cluster.Webhook, namespace string, want int) {
	t.Helper()
	// Some namespace of the tests' is always opted in, so there is always a count.
	counted := regexp.MustCompile(`(?m)^mtls_injector_pods_not_injected_last_check_timestamp_seconds [1-9]`)
	series := regexp.MustCompile(`(?m)^mtls_injector_pods_not_injected\{namespace="` + namespace + `"\} (\d+)$`)
	what := fmt.Sprintf("%d pods of %s not to be injected", want, namespace)
	require.NoError(t, shared.WaitFor(t.Context(), what, func(ctx context.Context) error {
		text, err := metricsOf(ctx, w)
		if err != nil {
			return err
		}
		got := "0"
		if match := series.FindStringSubmatch(text); match != nil {
			got = match[1]
		}
		if got != strconv.Itoa(want) || !counted.MatchString(text) {
			return fmt.Errorf("there are %s; counted: %t", got, counted.MatchString(text))
		}
		return nil
	}))
}

// metricsOf returns all metrics as the injector tells them.
func metricsOf(ctx context.Context, w *cluster.Webhook) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.MetricsURL+"/metrics", nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(response.Body)
	return string(text), errors.Join(err, response.Body.Close())
}

// change changes a Namespace, which has its pods counted.
func change(t *testing.T, namespace string, f func(*corev1.Namespace)) {
	t.Helper()
	var ns corev1.Namespace
	require.NoError(t, shared.Client.Get(t.Context(), client.ObjectKey{Name: namespace}, &ns))
	f(&ns)
	require.NoError(t, shared.Client.Update(t.Context(), &ns))
}

// TestPodsNotInjected: a pod that is older than its namespace's label is told of, until it
// is gone.
func TestPodsNotInjected(t *testing.T) {
	w := runWebhook(t, shared, cluster.WebhookOptions{})
	ns, err := shared.CreateNamespace(t.Context(), "test-", nil, prefixed(map[string]string{"role": "client"}))
	require.NoError(t, err)
	old := podWith(ns.Name, nil)
	require.NoError(t, shared.Client.Create(t.Context(), old))
	require.Empty(t, old.Labels[intent.LabelInjected])
	tellsNotInjected(t, w, ns.Name, 0)

	change(t, ns.Name, func(ns *corev1.Namespace) { ns.Labels[cluster.EnabledLabel] = "true" })
	tellsNotInjected(t, w, ns.Name, 1)

	fresh, optedOut := podWith(ns.Name, nil), podWith(ns.Name, map[string]string{"role": "none"})
	fresh.Name, optedOut.Name = "fresh", "opted-out"
	for _, pod := range []*corev1.Pod{fresh, optedOut} {
		require.NoError(t, shared.Client.Create(t.Context(), pod))
	}
	assert.Equal(t, "true", fresh.Labels[intent.LabelInjected])
	require.NoError(t, shared.Client.Delete(t.Context(), old, client.GracePeriodSeconds(0)))
	change(t, ns.Name, func(ns *corev1.Namespace) { ns.Annotations[intent.Prefix+"role"] = "both" })
	tellsNotInjected(t, w, ns.Name, 0)
}

// TestPodsLetThrough by `failurePolicy: Ignore` are found by the injector that starts after
// it, however many pages of them there are.
func TestPodsLetThrough(t *testing.T) {
	namespace := clustertest.Namespace(t, shared, map[string]string{intent.Prefix + "role": "client"})
	const most = 501 // one more than a page has
	for i := range most {
		pod := podWith(namespace, nil)
		pod.Name = fmt.Sprintf("app-%d", i)
		require.NoError(t, shared.Client.Create(t.Context(), pod))
	}
	t.Cleanup(func() {
		require.NoError(t, shared.Client.DeleteAllOf(context.Background(), &corev1.Pod{}, client.InNamespace(namespace), client.GracePeriodSeconds(0)))
	})
	w := runWebhook(t, shared, cluster.WebhookOptions{})
	tellsNotInjected(t, w, namespace, most)
}
