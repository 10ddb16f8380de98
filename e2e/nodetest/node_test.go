//go:build node

package nodetest

import (
	"crypto/x509"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/realnode"
	"example.io/mtls-injector/intent"
)

// TestWebhookRunsAsAPod: the chart's pods are on the node, and the API server asks them by
// way of their Service, which kube-proxy leads to them.
func TestWebhookRunsAsAPod(t *testing.T) {
	n := theNode(t)
	var pods corev1.PodList
	require.NoError(t, n.Client.List(t.Context(), &pods, client.InNamespace(realnode.ReleaseNamespace), client.MatchingLabels{"app.kubernetes.io/name": "mtls-injector"}))
	require.Len(t, pods.Items, 2, "the chart's replicas")
	for i := range pods.Items {
		pod := &pods.Items[i]
		require.NoError(t, ready(pod))
		assert.Equal(t, realnode.NodeName, pod.Spec.NodeName)
		log, err := n.Logs(t.Context(), pod.Namespace, pod.Name, pod.Spec.Containers[0].Name)
		require.NoError(t, err)
		assert.Contains(t, log, "Serving webhook server")
	}

	ns := newNamespace(t)
	pod := newPod(ns, "server", realnode.PauseImage, "role=server")
	require.NoError(t, n.Client.Create(t.Context(), pod))
	assert.Equal(t, "true", pod.Labels[intent.LabelInjected])
	var volumes []string
	for _, volume := range pod.Spec.Volumes {
		volumes = append(volumes, volume.Name)
	}
	assert.Contains(t, volumes, intent.CertificateVolume)

	awaitReady(t, ns, "server")

	err := n.Client.Create(t.Context(), newPod(ns, "neither", realnode.PauseImage, "role=neither"))
	require.ErrorContains(t, err, `denied the request`)
	require.ErrorContains(t, err, `metadata.annotations[mtls.example.io/role]: Invalid value: "neither": must be one of server, client, both, none`)
}

// TestFiles: an injected pod has its certificate by the CSI driver, and the bundle.
func TestFiles(t *testing.T) {
	ns := newNamespace(t)
	require.NoError(t, theNode(t).Client.Create(t.Context(), newPod(ns, "server", toolsImage, "role=server")))
	awaitReady(t, ns, "server")
	requireValidFiles(t, ns, "server")
	certificates, err := certutil.ParseCertsPEM([]byte(readFile(t, ns, "server", "/etc/tls/server/tls.crt")))
	require.NoError(t, err)
	require.Len(t, certificates[0].URIs, 1)
	assert.Contains(t, certificates[0].URIs[0].String(), "/ns/"+ns+"/sa/default")
}

// requireVerified has the bundle verify the first certificate of the chain, for a server.
func requireVerified(t *testing.T, chain, bundle string) {
	t.Helper()
	certificates, err := certutil.ParseCertsPEM([]byte(chain))
	require.NoError(t, err)
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(bundle)))
	for _, certificate := range certificates[1:] {
		intermediates.AddCert(certificate)
	}
	_, err = certificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	require.NoError(t, err)
}

// TestDNS: pods find Services, those without an address of their own, and their pods.
func TestDNS(t *testing.T) {
	ns := newNamespace(t)
	apply(t, ns, dnsScene)
	server := awaitReady(t, ns, "db-0")
	var service corev1.Service
	require.NoError(t, node.Client.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "web"}, &service))
	awaitReady(t, ns, "tools")
	for name, want := range map[string]string{
		"web":                                  service.Spec.ClusterIP,
		"web." + ns:                            service.Spec.ClusterIP,
		"db." + ns + ".svc.cluster.local":      server.Status.PodIP,
		"db-0.db":                              server.Status.PodIP,
		"kubernetes.default.svc.cluster.local": "10.0.0.1",
	} {
		out, err := node.Exec(t.Context(), ns, "tools", "app", "/program", "resolve", name)
		require.NoError(t, err)
		assert.Equal(t, want+"\n", out, name)
	}
	_, err := node.Exec(t.Context(), ns, "tools", "app", "/program", "resolve", "none."+ns+".svc.cluster.local")
	require.ErrorContains(t, err, "no such host")
	out, err := node.Exec(t.Context(), ns, "tools", "app", "/program", "get", "http://web/")
	require.NoError(t, err, "by kube-proxy, to the pod behind the Service")
	assert.Contains(t, out, http.StatusText(http.StatusOK))
}

const dnsScene = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: db}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {selector: {app: db}, clusterIP: None}
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, labels: {app: db}}
spec:
  hostname: db-0
  subdomain: db
  containers: [{name: app, image: example.io/tools:dev, imagePullPolicy: Never, args: [serve]}]
---
apiVersion: v1
kind: Pod
metadata: {name: tools}
spec:
  containers: [{name: app, image: example.io/tools:dev, imagePullPolicy: Never, args: [serve]}]
`
