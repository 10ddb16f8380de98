package release_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/release"
	"example.io/mtls-injector/e2e/replica"
	"example.io/mtls-injector/intent"
)

// stage is the one cluster of all tests here. Each test installs the release and uninstalls
// it.
var stage *release.Stage

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	var err error
	stage, err = release.Start(context.Background(), release.Options{Progress: clustertest.Stderr, LogDir: os.Getenv("E2E_LOG_DIR"), Audit: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := stage.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	return m.Run()
}

// install installs the chart; when the test is over, nothing is left of it.
func install(t *testing.T, args ...string) string {
	t.Helper()
	t.Cleanup(func() { cleanUp(t) })
	out, err := stage.Install(t.Context(), args...)
	require.NoError(t, err)
	awaitWebhook(t)
	return out
}

// uninstall uninstalls the release, if it is there, and waits for its pods to go.
func uninstall(t *testing.T) {
	t.Helper()
	ctx := context.Background() // the test's has ended
	if out, err := stage.Helm.Run(ctx, "list", "-q", "-n", release.Namespace); err != nil || strings.TrimSpace(out) == "" {
		require.NoError(t, err)
		return
	}
	_, err := stage.Uninstall(ctx)
	require.NoError(t, err)
	require.NoError(t, stage.WaitFor(ctx, "the pods to go", func(ctx context.Context) error {
		var pods corev1.PodList
		err := stage.Client.List(ctx, &pods, client.InNamespace(release.Namespace))
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("%d are left", len(pods.Items))
		}
		return err
	}))
}

// cleanUp uninstalls the release, and removes what that leaves: the next test's may say
// otherwise of the same names.
func cleanUp(t *testing.T) {
	t.Helper()
	uninstall(t)
	ctx := context.Background()
	labelled := client.MatchingLabels{"app.kubernetes.io/instance": release.Name}
	bundles := &unstructured.Unstructured{}
	bundles.SetGroupVersionKind(schema.GroupVersionKind{Group: "trust.cert-manager.io", Version: "v1alpha1", Kind: "Bundle"})
	for _, kept := range []client.Object{bundles, &cmapi.ClusterIssuer{}} {
		require.NoError(t, stage.Client.DeleteAllOf(ctx, kept, labelled))
	}
	for _, namespace := range []string{"cert-manager", release.Namespace} {
		for _, kept := range []client.Object{&cmapi.Certificate{}, &cmapi.Issuer{}} {
			require.NoError(t, stage.Client.DeleteAllOf(ctx, kept, client.InNamespace(namespace), labelled))
		}
	}
	require.NoError(t, stage.Client.DeleteAllOf(ctx, &coordinationv1.Lease{}, client.InNamespace(release.Namespace)))
	require.NoError(t, stage.Client.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(release.Namespace)))
	for _, root := range []string{"mtls-ca-a", "mtls-ca-b", "example-ca"} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "cert-manager", Name: root}}
		require.NoError(t, client.IgnoreNotFound(stage.Client.Delete(ctx, secret)))
	}
}

// awaitWebhook waits until the API server has learned of the webhook and of its CA.
func awaitWebhook(t *testing.T) {
	t.Helper()
	awaitInjected(t, optedIn(t))
}

// optedIn makes a namespace with the label of the chart's defaults.
func optedIn(t *testing.T) string {
	t.Helper()
	return clustertest.Namespace(t, stage.Cluster, nil)
}

// namespaceWith makes a namespace with other labels.
func namespaceWith(t *testing.T, labels map[string]string) string {
	t.Helper()
	ns, err := stage.CreateNamespace(t.Context(), "test-", labels, nil)
	require.NoError(t, err)
	return ns.Name
}

// server is a pod that is to be injected.
func server(namespace string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, GenerateName: "server-", Annotations: map[string]string{intent.Prefix + "role": "server"},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.io/app"}}},
	}
}

// create creates a pod as a dry run and returns what would be stored.
func create(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	require.NoError(t, stage.Client.Create(t.Context(), pod, client.DryRunAll))
	return pod
}

// isInjected reports whether a pod is marked, and has the volumes of either delivery.
func isInjected(pod *corev1.Pod) bool {
	for _, volume := range pod.Spec.Volumes {
		if volume.Name == intent.CertificateVolume && (volume.CSI != nil || volume.Secret != nil) {
			return pod.Labels[intent.LabelInjected] == "true"
		}
	}
	return false
}

// sum adds up a metric's series over all replicas; with are parts of a series that must occur.
func sum(t *testing.T, name string, with ...string) float64 {
	t.Helper()
	total := 0.0
	for _, r := range stage.Pods.Ready() {
		total += sumOf(t, scrape(t, r), name, with...)
	}
	return total
}

func scrape(t *testing.T, r *replica.Replica) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.MetricsURL+"/metrics", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(body)
}

func sumOf(t *testing.T, metrics, name string, with ...string) float64 {
	t.Helper()
	total := 0.0
series:
	for line := range strings.Lines(metrics) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || series != name && !strings.HasPrefix(series, name+"{") {
			continue
		}
		for _, part := range with {
			if !strings.Contains(series, part) {
				continue series
			}
		}
		var n float64
		_, err := fmt.Sscanf(value, "%g", &n)
		require.NoError(t, err, line)
		total += n
	}
	return total
}

// ofRelease lists everything that the release's label is on, of every kind that the API
// server has, as kind/name.
func ofRelease(t *testing.T) []string {
	t.Helper()
	disco, err := discovery.NewDiscoveryClientForConfig(stage.Config)
	require.NoError(t, err)
	lists, err := disco.ServerPreferredResources()
	require.NoError(t, err)
	var found []string
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		require.NoError(t, err)
		for i := range list.APIResources {
			resource := &list.APIResources[i]
			if strings.Contains(resource.Name, "/") || !slices.Contains(resource.Verbs, "list") || !slices.Contains(resource.Verbs, "get") {
				continue
			}
			objects := &unstructured.UnstructuredList{}
			objects.SetGroupVersionKind(gv.WithKind(resource.Kind + "List"))
			require.NoError(t, stage.Client.List(t.Context(), objects, client.MatchingLabels{"app.kubernetes.io/instance": release.Name}), resource.Name)
			for _, obj := range objects.Items {
				found = append(found, obj.GetKind()+"/"+obj.GetName())
			}
		}
	}
	return found
}

// during calls something until stop is called, and asserts that it never failed and was
// called at least once.
func during(t *testing.T, what string, call func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	calls := 0
	var failures []string
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if err := call(ctx); err != nil && ctx.Err() == nil {
				failures = append(failures, err.Error())
			}
			calls++
		}
	}()
	return func() {
		t.Helper()
		cancel()
		<-ended
		assert.Empty(t, failures, "%d times %s", calls, what)
		assert.Positive(t, calls)
		t.Logf("%d times %s, %d failures", calls, what, len(failures))
	}
}

// creating creates pods as dry runs all the time and asserts that each was injected.
func creating(t *testing.T) (stop func()) {
	t.Helper()
	ns := optedIn(t)
	return during(t, "a pod was created", func(ctx context.Context) error { return admit(ctx, ns) })
}
