package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/intent"
)

// sidecarWebhook adds a container to each pod once, as service meshes do.
func sidecarWebhook(_ context.Context, req admission.Request) admission.Response {
	pod := &corev1.Pod{}
	if err := json.Unmarshal(req.Object.Raw, pod); err != nil {
		return admission.Errored(400, err)
	}
	if slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == "late" }) {
		return admission.Allowed("it is there")
	}
	pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
		Name: "late", Image: "example.com/late", Env: []corev1.EnvVar{{Name: "OWN", Value: "1"}},
	})
	changed, err := json.Marshal(pod)
	if err != nil {
		return admission.Errored(500, err)
	}
	return admission.PatchResponseFromRaw(req.Object.Raw, changed)
}

// serveSidecars serves the webhook over TLS and registers it under a name that the API
// server calls after the injector's.
func serveSidecars(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	cert, key, err := certutil.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(cert, key)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(&admission.Webhook{Handler: admission.HandlerFunc(sidecarWebhook)})
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	server.StartTLS()
	t.Cleanup(server.Close)
	require.NoError(t, c.RegisterWebhook(t.Context(), "sidecars-after", server.URL, cert))
	t.Cleanup(func() { require.NoError(t, c.UnregisterWebhook(context.Background(), "sidecars-after")) })
}

// TestWebhookServesContainersAddedAfterIt: the API server calls the injector a second
// time, for another webhook has changed the pod since.
func TestWebhookServesContainersAddedAfterIt(t *testing.T) {
	w := runWebhook(t, shared, cluster.WebhookOptions{})
	serveSidecars(t, shared)
	namespace := clustertest.Namespace(t, shared, nil)
	var pod *corev1.Pod
	var before map[string]int
	require.NoError(t, shared.WaitFor(t.Context(), "the second webhook", func(ctx context.Context) error {
		before, pod = admissions(t, w), podWith(namespace, map[string]string{"role": "client"})
		if err := shared.Client.Create(ctx, pod, client.DryRunAll); err != nil {
			return err
		}
		if len(pod.Spec.Containers) != 2 {
			return fmt.Errorf("there are %d containers", len(pod.Spec.Containers))
		}
		return nil
	}))
	assert.Equal(t, before["injected/patched"]+2, admissions(t, w)["injected/patched"], "called twice, with something to do each time")
	assert.Equal(t, "app late", seeServed(&admitted{Pod: pod}))
	late := pod.Spec.Containers[1]
	assert.Equal(t, []string{"MTLS_ROLE", "MTLS_SPIFFE_ID", "MTLS_CA_CERT", "MTLS_CLIENT_CERT", "MTLS_CLIENT_KEY", "OWN"}, variableNames(&late))
	assert.Contains(t, pod.Annotations[intent.AnnotationStatus], `"containers":["app","late"]`)
	assert.Len(t, pod.Spec.Volumes, 3, "ours, the bundle and the service account's: nothing twice")
}

// TestWebhookKnowsANamespaceAtOnce makes pods right after their namespaces, which the
// webhook's cache cannot have yet.
func TestWebhookKnowsANamespaceAtOnce(t *testing.T) {
	runWebhook(t, shared, cluster.WebhookOptions{})
	for i := range 20 {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			GenerateName: "test-", Labels: map[string]string{cluster.EnabledLabel: "true"},
			Annotations: prefixed(map[string]string{"role": "client", "duration": strconv.Itoa(24+i) + "h"}),
		}}
		require.NoError(t, shared.Client.Create(t.Context(), namespace))
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "own", Namespace: namespace.Name}}
		require.NoError(t, shared.Client.Create(t.Context(), account))
		pod := podWith(namespace.Name, nil)
		pod.Spec.ServiceAccountName = account.Name
		require.NoError(t, shared.Client.Create(t.Context(), pod))
		assert.Equal(t, strconv.Itoa(24+i)+"h", seeAttribute("duration")(&admitted{Pod: pod}))
	}
}

// applied is what a user applies in one go: the pods come within milliseconds of the
// Service whose names they are to have.
const applied = `
apiVersion: v1
kind: Service
metadata: {name: front-NUMBER}
spec: {selector: {app: web-NUMBER}, ports: [{port: 443}]}
---
apiVersion: v1
kind: Service
metadata: {name: peers-NUMBER}
spec: {clusterIP: None, selector: {app: web-NUMBER}, ports: [{port: 443}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-NUMBER}
spec:
  replicas: 2
  selector: {matchLabels: {app: web-NUMBER}}
  template:
    metadata: {labels: {app: web-NUMBER}, annotations: {mtls.example.io/role: server}}
    spec: {containers: [{name: app, image: example.com/app}]}
`

func TestWebhookKnowsAServiceAtOnce(t *testing.T) {
	runWebhook(t, shared, cluster.WebhookOptions{})
	namespace := clustertest.Namespace(t, shared, nil)
	for i := range 20 {
		number := strconv.Itoa(i)
		_, err := shared.Apply(t.Context(), []byte(strings.ReplaceAll(applied, "NUMBER", number)), namespace)
		require.NoError(t, err)
		pods, err := shared.WaitForPods(t.Context(), namespace, map[string]string{"app": "web-" + number}, 2)
		require.NoError(t, err)
		for j := range pods {
			assert.Equal(t, "front-"+number+" peers-"+number, seeNames(&admitted{Pod: &pods[j]}))
		}
	}
}
