package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"example.io/mtls-injector/webhook"
	"example.io/mtls-injector/webhook/servingcert"
)

// selfManaged are the flags that the mode needs.
func selfManaged(more ...string) []string {
	return append([]string{
		"--serving-cert-mode", "self-managed", "--serving-cert-secret-namespace", "mtls", "--serving-cert-secret-name", "injector-ca",
		"--serving-cert-dns-names", "injector.mtls.svc,injector.mtls.svc.cluster.local", "--webhook-configuration-name", "injector",
	}, more...)
}

func TestServingFlags(t *testing.T) {
	kubeconfig := kubeconfig(t, "https://192.0.2.1")
	s, err := parse(t, "--kubeconfig", kubeconfig).complete()
	require.NoError(t, err)
	assert.Nil(t, s.serving, "files are the default")

	s, err = parse(t, selfManaged("--kubeconfig", kubeconfig, "--cert-dir", "", "--cert-name", "", "--key-name", "")...).complete()
	require.NoError(t, err)
	want := &servingcert.Options{
		Config: s.rest, SecretNamespace: "mtls", SecretName: "injector-ca", ConfigurationName: "injector",
		SecretLabels: map[string]string{
			"app.kubernetes.io/managed-by": "mtls-injector", "app.kubernetes.io/name": "mtls-injector", "app.kubernetes.io/component": "webhook",
		},
		DNSNames:   []string{"injector.mtls.svc", "injector.mtls.svc.cluster.local"},
		CADuration: 365 * 24 * time.Hour, LeafDuration: 7 * 24 * time.Hour,
	}
	assert.Equal(t, want, s.serving)

	s, err = parse(t, selfManaged("--kubeconfig", kubeconfig, "--serving-cert-ca-duration", "3m", "--serving-cert-leaf-duration", "1m")...).complete()
	require.NoError(t, err)
	assert.Equal(t, 3*time.Minute, s.serving.CADuration)
	assert.Equal(t, time.Minute, s.serving.LeafDuration)
}

func TestWrongServingFlags(t *testing.T) {
	const subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character " +
		"(e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no such mode": {[]string{"--serving-cert-mode", "secret"}, `--serving-cert-mode: must be files or self-managed, not "secret"`},
		"nothing said": {[]string{"--serving-cert-mode", "self-managed"}, `--serving-cert-secret-namespace: is needed with --serving-cert-mode=self-managed
--serving-cert-secret-name: is needed with --serving-cert-mode=self-managed
--webhook-configuration-name: is needed with --serving-cert-mode=self-managed
--serving-cert-dns-names: is needed with --serving-cert-mode=self-managed`},
		"wrong namespace":      {selfManaged("--serving-cert-secret-namespace", "a.b"), `--serving-cert-secret-namespace: "a.b" is not a name: must not contain dots`},
		"wrong Secret":         {selfManaged("--serving-cert-secret-name", "A"), `--serving-cert-secret-name: "A" is not a name: ` + subdomain},
		"wrong configuration":  {selfManaged("--webhook-configuration-name", "a/b"), `--webhook-configuration-name: "a/b" is not a name: ` + subdomain},
		"wrong DNS name":       {selfManaged("--serving-cert-dns-names", "*.svc"), `--serving-cert-dns-names: "*.svc" is not a name: ` + subdomain},
		"short leaf":           {selfManaged("--serving-cert-leaf-duration", "59s"), `--serving-cert-leaf-duration: must be at least 1m0s, not 59s`},
		"short CA":             {selfManaged("--serving-cert-ca-duration", "503h"), `--serving-cert-ca-duration: must be at least three times --serving-cert-leaf-duration, which is 168h0m0s, not 503h0m0s`},
		"no durations":         {selfManaged("--serving-cert-ca-duration", "0", "--serving-cert-leaf-duration", "-1s"), "--serving-cert-leaf-duration: must be at least 1m0s, not -1s"},
		"files are not needed": {selfManaged("--cert-dir", "", "--port", "0"), "--port: must be from 1 to 65535, not 0"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := parse(t, tt.args...).complete()
			assert.EqualError(t, err, tt.want)
			assert.Nil(t, s)
		})
	}
}

// TestNewServer: the server is made without files where the certificate makes itself.
func TestNewServer(t *testing.T) {
	s, err := parse(t, selfManaged("--kubeconfig", kubeconfig(t, "https://192.0.2.1"), "--cert-dir", "/nowhere")...).complete()
	require.NoError(t, err)
	_, err = newServer(s, logr.Discard())
	require.NoError(t, err)

	s.rest.Host = "http://[::1"
	_, err = newServer(s, logr.Discard())
	assert.ErrorContains(t, err, "client for the serving certificate: ")
	s.serving, s.server = nil, webhook.ServerOptions{CertDir: "/nowhere", CertName: "tls.crt", KeyName: "tls.key"}
	_, err = newServer(s, logr.Discard())
	assert.EqualError(t, err, "serving certificate: open /nowhere/tls.crt: no such file or directory")
}

// TestWebhookWithoutCertManager: the webhook serves, and tells its metrics, where nobody
// serves cert-manager.io, and when somebody does the controller begins.
func TestWebhookWithoutCertManager(t *testing.T) {
	dir, _ := writeCertificate(t)
	all := apiServer(t, nil)
	var installed atomic.Bool
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case installed.Load() || !strings.HasPrefix(r.URL.Path, "/apis"):
			all.Config.Handler.ServeHTTP(w, r)
		case r.URL.Path == "/apis":
			answer(metav1.APIGroupList{})(w, r)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(api.Close)
	health, metrics := fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	program, logged := start(t,
		"webhook", "--kubeconfig", kubeconfig(t, api.URL), "--bind-address", "127.0.0.1", "--port", strconv.Itoa(freePort(t)),
		"--cert-dir", dir, "--health-probe-bind-address", health, "--metrics-bind-address", metrics, "--drain-delay", "10ms")
	require.Eventually(t, func() bool {
		status, _ := get(t, "http://"+health+"/readyz")
		return status == http.StatusOK
	}, 30*time.Second, 10*time.Millisecond, logged)
	status, text := get(t, "http://"+metrics+"/metrics")
	assert.Equal(t, http.StatusOK, status, text)
	assert.Contains(t, text, "\nmtls_injector_serving_certificate_not_after_timestamp_seconds ")
	assert.NotContains(t, text, "\nmtls_injector_companions{")
	assert.NotContains(t, logged.String(), "Starting workers")

	installed.Store(true)
	require.Eventually(t, func() bool { return strings.Contains(logged.String(), "Starting workers") }, 90*time.Second, 10*time.Millisecond, logged)
	require.NoError(t, program.Process.Signal(syscall.SIGTERM))
	require.NoError(t, program.Wait(), logged)
}

// TestMapper: Certificates are known when discovery does not know them, and nothing else is.
func TestMapper(t *testing.T) {
	empty := mapper{meta.NewDefaultRESTMapper(nil)}
	mapping, err := empty.RESTMapping(schema.GroupKind{Group: "cert-manager.io", Kind: "Certificate"}, "v1")
	require.NoError(t, err)
	assert.Equal(t, "cert-manager.io/v1, Resource=certificates", mapping.Resource.String())
	assert.Equal(t, meta.RESTScopeNameNamespace, mapping.Scope.Name())
	_, err = empty.RESTMapping(schema.GroupKind{Group: "cert-manager.io", Kind: "Issuer"}, "v1")
	assert.EqualError(t, err, `no matches for kind "Issuer" in version "cert-manager.io/v1"`)
}
