package e2e

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/intent"
)

// examples is the folder of the manifests for users.
const examples = "../examples"

// exampleChecks are, by file, what its comments say and the demo has not checked itself.
func exampleChecks() map[string]func(*example) {
	return map[string]func(*example){
		"config.yaml":                  checkConfig,
		"00-namespaces.yaml":           checkNamespaces,
		"01-ca-existing-key-pair.yaml": checkExistingCA,
		"02-ca-self-signed.yaml":       checkSelfSignedCA,
		"03-trust-bundle.yaml":         checkBundle,
		"10-go-server.yaml":            checkGoServer,
		"11-client-job.yaml":           checkClientJob,
		"12-nginx.yaml":                checkNginx,
		"13-client-deployment.yaml":    checkClientDeployment,
		"14-both.yaml":                 checkBoth,
		"15-secret-delivery.yaml":      checkSecretDelivery,
		"20-namespace-default.yaml":    checkNamespaceDefault,
		"21-opted-out.yaml":            checkOptedOut,
		"30-refused.yaml":              checkRefused,
	}
}

func TestExamplesAreListed(t *testing.T) {
	readme, err := os.ReadFile(examples + "/README.md")
	require.NoError(t, err)
	files, err := filepath.Glob(examples + "/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		name := filepath.Base(file)
		assert.Contains(t, string(readme), "| ["+name+"]("+name+") |")
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.True(t, strings.HasPrefix(string(data), "# "), "%s begins with what it is about", name)
		assert.NotContains(t, string(data), "PRIVATE KEY", name)
	}
}

// checkConfig: without the file, the defaults allow neither the issuer nor the name.
func checkConfig(e *example) {
	ledger := e.pods("payments", "ledger", 1)
	assert.Equal(e, "Issuer/payments-ca", e.status(&ledger[0]).Issuer)
	edge := e.pods("shop", "edge", 1)
	assert.Contains(e, e.status(&edge[0]).DNS, "shop.example.com")
}

func checkNamespaces(e *example) {
	var shop, payments corev1.Namespace
	e.get("", "shop", &shop)
	e.get("", "payments", &payments)
	assert.Equal(e, "true", shop.Labels[cluster.EnabledLabel])
	assert.Equal(e, "true", payments.Labels[cluster.EnabledLabel])
	assert.Empty(e, shop.Annotations)
	assert.Equal(e, "both", payments.Annotations[intent.Prefix+"role"])
}

func checkExistingCA(e *example) {
	require.NoError(e, e.WaitForIssuer(e.Context(), "", "mtls-ca"))
	orders := e.pods("shop", "orders", 2)
	assert.Equal(e, "Example mTLS CA", e.certificate(&orders[0]).Issuer.CommonName)
}

func checkSelfSignedCA(e *example) {
	var secret corev1.Secret
	e.get("payments", "payments-ca", &secret)
	ca := e.decode(secret.Data[corev1.TLSCertKey])
	assert.True(e, ca.IsCA)
	require.NoError(e, ca.CheckSignatureFrom(ca), "it is self-signed")
	assert.Equal(e, 3650*day, lifetime(ca))
	ledger := e.pods("payments", "ledger", 1)
	require.NoError(e, e.certificate(&ledger[0]).CheckSignatureFrom(ca))
}

func checkBundle(e *example) {
	for _, namespace := range []string{"shop", "payments"} {
		var bundle corev1.ConfigMap
		e.get(namespace, "mtls-ca-bundle", &bundle)
		certs, err := pki.DecodeX509CertificateSetBytes([]byte(bundle.Data["ca.crt"]))
		require.NoError(e, err)
		require.Len(e, certs, 2)
		assert.Equal(e, "Example mTLS CA", certs[0].Subject.CommonName)
		assert.Equal(e, "Payments mTLS CA", certs[1].Subject.CommonName)
		assert.NotContains(e, bundle.Data["ca.crt"], "PRIVATE KEY")
	}
	var configs corev1.ConfigMapList
	require.NoError(e, e.Client.List(e.Context(), &configs))
	for _, config := range configs.Items {
		if config.Name == "mtls-ca-bundle" {
			assert.Contains(e, []string{"shop", "payments"}, config.Namespace, "only where it is selected")
		}
	}
}

func checkGoServer(e *example) {
	for _, pod := range e.pods("shop", "orders", 2) {
		server := &pod.Spec.Containers[0]
		assert.Equal(e, []string{"mtls-certs /certs ", "mtls-ca /etc/tls/ca "}, mountList(server))
		request := e.request(&pod)
		assert.Equal(e, int64(65532), request.GID, "the server's group may read the key")
		assert.Equal(e, []string{"orders", "orders.shop", "orders.shop.svc", "orders.shop.svc.cluster.local"}, request.DNSNames)
		assert.Equal(e, 90*day, lifetime(e.certificate(&pod)))
		assert.Equal(e, []string{"--listen=:8443", "--cert=/certs/tls.crt", "--key=/certs/tls.key", "--client-ca=/certs/ca.crt"}, server.Args)
	}
}

func checkClientJob(e *example) {
	pod := e.pods("shop", "smoke-test", 1)[0]
	curl := &pod.Spec.Containers[0]
	assert.Equal(e, []string{"MTLS_ROLE", "MTLS_SPIFFE_ID", "MTLS_CA_CERT", "MTLS_CLIENT_CERT", "MTLS_CLIENT_KEY"}, variableNames(curl))
	assert.Contains(e, curl.Args, "$(MTLS_CLIENT_CERT)", "the kubelet expands it")
	cert := e.certificate(&pod)
	assert.Empty(e, cert.DNSNames)
	assert.Equal(e, "spiffe://cluster.local/ns/shop/sa/smoke-test", cert.URIs[0].String())
	assert.Equal(e, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, cert.ExtKeyUsage)
}

func checkNginx(e *example) {
	pod := e.pods("shop", "edge", 1)[0]
	nginx := &pod.Spec.Containers[0]
	assert.Equal(e, []string{
		"nginx /etc/nginx/nginx.conf nginx.conf", "mtls-certs /etc/tls/server ", "mtls-ca /etc/tls/ca ",
	}, mountList(nginx))
	assert.Nil(e, nginx.ReadinessProbe.HTTPGet)
	require.NotNil(e, nginx.ReadinessProbe.TCPSocket)
	assert.Equal(e, "https", nginx.ReadinessProbe.TCPSocket.Port.String())
	assert.Contains(e, e.certificate(&pod).DNSNames, "shop.example.com")
}

func checkClientDeployment(e *example) {
	pod := e.pods("shop", "reports", 1)[0]
	reports, shipper := &pod.Spec.Containers[0], &pod.Spec.Containers[1]
	assert.Equal(e, []string{
		"MTLS_ROLE", "MTLS_SPIFFE_ID", "MTLS_CA_CERT", "MTLS_CLIENT_CERT", "MTLS_CLIENT_KEY", "CURL_CA_BUNDLE",
		"ORDERS_URL", "CART_URL",
	}, variableNames(reports))
	assert.Equal(e, []string{"mtls-certs /etc/tls/client ", "mtls-ca /etc/tls/ca "}, mountList(reports))
	assert.Equal(e, "log-shipper", shipper.Name)
	assert.Empty(e, mountList(shipper))
	assert.Empty(e, variableNames(shipper))
	assert.Equal(e, 30*day, lifetime(e.certificate(&pod)))
}

func checkBoth(e *example) {
	pod := e.pods("shop", "cart", 1)[0]
	cart := &pod.Spec.Containers[0]
	assert.Equal(e, []string{"mtls-certs /etc/tls/server ", "mtls-certs /etc/tls/client ", "mtls-ca /etc/tls/ca "}, mountList(cart))
	for _, name := range []string{"MTLS_SERVER_CERT", "MTLS_SERVER_KEY", "MTLS_CLIENT_CERT", "MTLS_CLIENT_KEY"} {
		assert.Contains(e, variableNames(cart), name)
	}
	assert.Equal(e, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, e.certificate(&pod).ExtKeyUsage)
}

func checkSecretDelivery(e *example) {
	var companion cmapi.Certificate
	e.get("shop", "db-mtls-statefulset", &companion)
	for _, pod := range e.pods("shop", "db", 2) {
		i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == "mtls-certs" })
		require.GreaterOrEqual(e, i, 0)
		secret := pod.Spec.Volumes[i].Secret
		require.NotNil(e, secret)
		assert.Equal(e, companion.Spec.SecretName, secret.SecretName)
		assert.Equal(e, int32(0o440), *secret.DefaultMode, "for the fsGroup, and PostgreSQL takes no more")
	}
	var secret corev1.Secret
	e.get("shop", companion.Spec.SecretName, &secret)
	cert := e.decode(secret.Data[corev1.TLSCertKey])
	assert.Contains(e, cert.DNSNames, "*.db.shop.svc.cluster.local")
	assert.Equal(e, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, cert.ExtKeyUsage)
}

func checkNamespaceDefault(e *example) {
	var deployments appsv1.DeploymentList
	require.NoError(e, e.Client.List(e.Context(), &deployments, client.InNamespace("payments")))
	require.Len(e, deployments.Items, 2)
	for _, deployment := range deployments.Items {
		assert.Empty(e, deployment.Spec.Template.Annotations, "nobody annotates them")
		pod := e.pods("payments", deployment.Name, 1)[0]
		assert.Equal(e, intent.RoleBoth, e.status(&pod).Role)
		cert := e.certificate(&pod)
		assert.Equal(e, "Payments mTLS CA", cert.Issuer.CommonName)
		assert.Equal(e, []string{"Payments"}, cert.Subject.Organization)
		assert.Contains(e, cert.DNSNames, deployment.Name+".payments.svc.cluster.local")
	}
}

func checkOptedOut(e *example) {
	for namespace, app := range map[string]string{"payments": "debug", "shop": "plain"} {
		pod := e.pods(namespace, app, 1)[0]
		assert.NotContains(e, pod.Labels, intent.LabelInjected)
		assert.NotContains(e, pod.Annotations, intent.AnnotationStatus)
		assert.Empty(e, mountList(&pod.Spec.Containers[0]))
		assert.Empty(e, pod.Spec.Containers[0].Env)
		assert.Nil(e, pod.Spec.Containers[0].Lifecycle)
		assert.Len(e, pod.Spec.Volumes, 1, "the API token's")
	}
}

// checkRefused: the demo has compared what kubectl says with what the comment says.
func checkRefused(e *example) {
	var pods corev1.PodList
	require.NoError(e, e.Client.List(e.Context(), &pods, client.InNamespace("shop"), client.MatchingLabels{"app": "refused"}))
	assert.Empty(e, pods.Items)
}
