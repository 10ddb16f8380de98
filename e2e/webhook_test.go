package e2e

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/internal/binaries"
	"example.io/mtls-injector/intent"
)

// injectorBinary builds the injector once for all tests.
var injectorBinary = sync.OnceValues(func() (string, error) {
	product, err := binaries.EnsureProduct(context.Background(), clustertest.Stderr)
	if err != nil {
		return "", err
	}
	return product.Injector, nil
})

// runWebhook starts the injector for the time of the test. If it is to be registered, the
// API server sends it pods when this returns, and no longer when the test is over.
func runWebhook(t *testing.T, c *cluster.Cluster, opts cluster.WebhookOptions) *cluster.Webhook {
	t.Helper()
	// Nobody else must learn that it goes.
	opts.Args = append([]string{"--drain-delay=0s"}, opts.Args...)
	var err error
	opts.Binary, err = injectorBinary()
	require.NoError(t, err)
	w, err := c.RunWebhook(t.Context(), opts)
	require.NoError(t, err)
	if opts.Unregistered {
		t.Cleanup(func() { require.NoError(t, w.Stop()) })
		return w
	}
	namespace := clustertest.Namespace(t, c, nil)
	called := func(ctx context.Context) error {
		before := total(t, w)
		if err := c.Client.Create(ctx, podWith(namespace, nil), client.DryRunAll); err != nil {
			return err
		}
		if total(t, w) == before {
			return errors.New("it is not")
		}
		return nil
	}
	require.NoError(t, c.WaitFor(t.Context(), "the webhook to be called", called))
	t.Cleanup(func() {
		require.NoError(t, w.Stop())
		require.NoError(t, c.WaitFor(context.Background(), "the webhook not to be called", func(ctx context.Context) error {
			return c.Client.Create(ctx, podWith(namespace, nil), client.DryRunAll)
		}))
	})
	return w
}

// podWith returns a plain pod with annotations, whose keys are without the prefix.
func podWith(namespace string, annotations map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "app", Namespace: namespace, Labels: map[string]string{"app": "app"}, Annotations: prefixed(annotations)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.com/app"}}},
	}
}

// admissions reads the webhook's counters, by outcome/reason.
func admissions(t *testing.T, w *cluster.Webhook) map[string]int {
	t.Helper()
	return samples(t, w, `^mtls_injector_admissions_total\{outcome="([a-z-]+)",reason="([a-z-]+)"\} (\d+)$`)
}

func total(t *testing.T, w *cluster.Webhook) int {
	t.Helper()
	sum := 0
	for _, n := range admissions(t, w) {
		sum += n
	}
	return sum
}

// samples reads metrics whose lines match: two groups for the name, one for the value.
func samples(t *testing.T, w *cluster.Webhook, lines string) map[string]int {
	t.Helper()
	line := regexp.MustCompile(lines)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.MetricsURL+"/metrics", nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	values := map[string]int{}
	scanner := bufio.NewScanner(response.Body)
	for scanner.Scan() {
		if match := line.FindStringSubmatch(scanner.Text()); match != nil {
			values[match[1]+"/"+match[2]], err = strconv.Atoi(match[3])
			require.NoError(t, err)
		}
	}
	require.NoError(t, scanner.Err())
	require.NotEmpty(t, values, lines)
	return values
}

func TestWebhookWarnings(t *testing.T) {
	runWebhook(t, shared, cluster.WebhookOptions{})
	namespace := clustertest.Namespace(t, shared, nil)
	warned := warningClient(t, shared)
	cases := map[string]struct {
		annotations map[string]string
		want        []string
	}{
		"nothing to warn of":   {map[string]string{"role": "client"}, nil},
		"a server, no Service": {map[string]string{"role": "server"}, []string{`no Service selects the pod yet: the certificate gets the names of its workload "app"`}},
		"a role was forgotten": {map[string]string{"env": "curl"}, []string{"the pod has annotations under mtls.example.io/ but no role, so they have no effect: set mtls.example.io/role"}},
		"several at once": {map[string]string{"role": "client", "containers": "app,ap", "mount-path": "/certs", "reload": "restart"}, []string{
			`mtls.example.io/containers names "ap", which the pod does not have; did you mean "app"?`,
			`mtls.example.io/reload: restart does not restart "Pod/app", which is no Deployment, StatefulSet or DaemonSet: it gets an Event RestartNeeded instead`,
			"ca.crt in /certs is the CSI driver's own, as of the last issuance: trust /etc/tls/ca/ca.crt, which follows a change of the CA",
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, warnings := collectWarnings(t.Context())
			require.NoError(t, warned.Create(ctx, podWith(namespace, tc.annotations), client.DryRunAll))
			assert.Equal(t, tc.want, warnings.texts)
		})
	}
}

func TestWebhookDryRunLeavesNothing(t *testing.T) {
	w := runWebhook(t, shared, cluster.WebhookOptions{})
	namespace := clustertest.Namespace(t, shared, nil)
	before := admissions(t, w)
	pod := podWith(namespace, map[string]string{"role": "client"})
	require.NoError(t, shared.Client.Create(t.Context(), pod, client.DryRunAll))
	assert.Equal(t, "true", pod.Labels[intent.LabelInjected], "a dry run shows what would be")
	assert.Equal(t, before["injected/patched"]+1, admissions(t, w)["injected/patched"])
	for _, list := range []client.ObjectList{&corev1.PodList{}, &cmapi.CertificateList{}, &cmapi.CertificateRequestList{}, &corev1.SecretList{}} {
		require.NoError(t, shared.Client.List(t.Context(), list, client.InNamespace(namespace)))
		assert.Zero(t, meta.LenList(list), "%T", list)
	}
}

func TestWebhookLeavesOtherNamespacesAlone(t *testing.T) {
	w := runWebhook(t, shared, cluster.WebhookOptions{})
	before := total(t, w)
	for name, labels := range map[string]map[string]string{"no label": nil, "another value": {cluster.EnabledLabel: "yes"}} {
		t.Run(name, func(t *testing.T) {
			namespace, err := shared.CreateNamespace(t.Context(), "test-", labels, prefixed(map[string]string{"role": "both"}))
			require.NoError(t, err)
			pod := podWith(namespace.Name, map[string]string{"role": "no such role"})
			require.NoError(t, shared.Client.Create(t.Context(), pod))
			assert.Equal(t, map[string]string{"app": "app"}, pod.Labels)
			assert.Equal(t, prefixed(map[string]string{"role": "no such role"}), pod.Annotations)
			assert.False(t, mounts(&pod.Spec.Containers[0], "mtls-certs"))
		})
	}
	assert.Equal(t, before, total(t, w), "the API server does not even ask")
}

// TestWebhookGeneratedNames makes pods as controllers do: they have no name yet when they
// are injected.
func TestWebhookGeneratedNames(t *testing.T) {
	runWebhook(t, shared, cluster.WebhookOptions{})
	namespace := clustertest.Namespace(t, shared, nil)
	names := map[string]bool{}
	for range 3 {
		pod := podWith(namespace, map[string]string{"role": "server", "delivery": "secret"})
		pod.Name, pod.GenerateName = "", "batch-"
		require.NoError(t, shared.Client.Create(t.Context(), pod))
		names[pod.Name] = true
		assert.Regexp(t, "^batch-[a-z0-9]{5}$", pod.Name)
		assert.Equal(t, "Secret batch-mtls-pod", seeKeyPair(&admitted{Pod: pod}), "the prefix is all that lasts")
	}
	assert.Len(t, names, 3)
}

func TestWebhookCountsWhatItDoes(t *testing.T) {
	w := runWebhook(t, shared, cluster.WebhookOptions{})
	namespace := clustertest.Namespace(t, shared, nil)
	const timed = `^(mtls_injector_admission_duration_seconds)_(count) (\d+)$`
	before, timedBefore := admissions(t, w), samples(t, w, timed)
	reserved := podWith(namespace, map[string]string{"role": "client"})
	reserved.Spec.Volumes = []corev1.Volume{{Name: "mtls-certs"}}
	pods := []*corev1.Pod{
		podWith(namespace, map[string]string{"role": "client"}),
		podWith(namespace, map[string]string{"role": "server"}),
		podWith(namespace, nil),
		podWith(namespace, map[string]string{"role": "none"}),
		podWith(namespace, map[string]string{"role": "servant"}),
		reserved,
	}
	refused := 0
	for _, pod := range pods {
		if err := shared.Client.Create(t.Context(), pod, client.DryRunAll); err != nil {
			refused++
		}
	}
	assert.Equal(t, 2, refused)
	counted := map[string]int{}
	for name, n := range admissions(t, w) {
		if n > before[name] {
			counted[name] = n - before[name]
		}
	}
	assert.Equal(t, map[string]int{
		"injected/patched": 2, "skipped/no-role": 1, "skipped/role-none": 1, "refused/invalid": 1, "refused/conflict": 1,
	}, counted)
	for name, n := range samples(t, w, timed) {
		assert.Equal(t, timedBefore[name]+len(pods), n, name)
	}
	assert.Equal(t, map[string]int{"mtls_injector_admissions_in_flight/": 0}, samples(t, w, `^(mtls_injector_admissions_in_flight)() (\d+)$`))
}
