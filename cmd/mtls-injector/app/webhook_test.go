package app

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/webhook"
)

// writeCertificate writes a self-signed serving certificate for localhost.
func writeCertificate(t *testing.T) (dir string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir = t.TempDir()
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tls.crt"), certPEM, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	roots = x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(certPEM))
	return dir, roots
}

// writeConfig writes a configuration of one more line.
func writeConfig(t *testing.T, dir, line string) string {
	t.Helper()
	path := filepath.Join(dir, "config.yaml")
	text := "apiVersion: config.mtls.example.io/v1alpha1\nkind: InjectorConfiguration\n" + line + "\n"
	require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
	return path
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// output is a log that may be read while it is written.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

// runsAsProgram has the test's own binary run the program, so that a test can send it signals.
const runsAsProgram = "MTLS_INJECTOR_TEST_RUNS_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(runsAsProgram) == "" {
		os.Exit(m.Run())
	}
	if err := NewCommand("v1.2.3").ExecuteContext(ctrl.SetupSignalHandler()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// start runs the program.
func start(t *testing.T, args ...string) (*exec.Cmd, *output) {
	t.Helper()
	program := exec.CommandContext(t.Context(), os.Args[0], args...)
	program.Env = append(os.Environ(), runsAsProgram+"=1")
	logged := new(output)
	program.Stderr = logged
	require.NoError(t, program.Start())
	return program, logged
}

// TestWebhook runs the whole command, beside an API server that knows a namespace and a
// Service: it becomes ready, injects a pod, tells its metrics, and stops when told.
func TestWebhook(t *testing.T) {
	dir, roots := writeCertificate(t)
	api := apiServer(t, map[string][]object{
		"namespaces": {{"metadata": object{"name": "shop", "annotations": object{"mtls.example.io/role": "server"}}}},
		"services":   {{"metadata": object{"name": "cart", "namespace": "shop"}, "spec": object{"selector": object{"app": "cart"}}}},
	})
	config := writeConfig(t, t.TempDir(), "trustDomain: shop.example")
	port, health, metrics := freePort(t), fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	program, logged := start(t,
		"webhook", "--config", config, "--kubeconfig", kubeconfig(t, api.URL), "--bind-address", "127.0.0.1", "--port", strconv.Itoa(port),
		"--cert-dir", dir, "--health-probe-bind-address", health, "--metrics-bind-address", metrics, "--drain-delay", "10ms")
	ready := func() bool {
		status, _ := get(t, "http://"+health+"/readyz")
		return status == http.StatusOK
	}
	require.Eventually(t, ready, 30*time.Second, 10*time.Millisecond)

	response := postPod(t, port, roots)
	require.True(t, response.Allowed)
	assert.Equal(t, "spiffe://shop.example/ns/shop/sa/default", response.AuditAnnotations["identity"])
	assert.Contains(t, string(response.Patch), "cart.shop.svc.cluster.local")
	assert.Contains(t, string(response.Patch), `\"version\":\"v1.2.3\"`)

	writeConfig(t, filepath.Dir(config), "trustDomain: bank.example")
	require.Eventually(t, func() bool {
		return postPod(t, port, roots).AuditAnnotations["identity"] == "spiffe://bank.example/ns/shop/sa/default"
	}, 90*time.Second, 10*time.Millisecond, "the configuration is read again when it changes")

	for _, series := range []string{
		`mtls_injector_admissions_total{outcome="refused",reason="invalid"} 0`, "mtls_injector_admission_duration_seconds_count ",
		`mtls_injector_config_reloads_total{result="success"} 2`, "go_goroutines", "certwatcher_read_certificate_total",
	} {
		require.Eventually(t, func() bool {
			_, text := get(t, "http://"+metrics+"/metrics")
			return strings.Contains(text, "\n"+series)
		}, 30*time.Second, 10*time.Millisecond, series)
	}
	require.Eventually(t, func() bool { return strings.Contains(logged.String(), "Starting workers") }, 30*time.Second, 10*time.Millisecond,
		"the companion controller starts last")

	require.NoError(t, program.Process.Signal(syscall.SIGTERM))
	require.NoError(t, program.Wait(), logged)
	checkLog(t, logged.String())
}

func TestProgramFails(t *testing.T) {
	program, logged := start(t, "webhook", "--port", "0")
	var exit *exec.ExitError
	require.ErrorAs(t, program.Wait(), &exit)
	assert.Equal(t, 1, exit.ExitCode())
	assert.Equal(t, "error: --port: must be from 1 to 65535, not 0\n", logged.String())
}

// checkLog wants JSON on every line, and one that tells of the pod.
func checkLog(t *testing.T, log string) {
	t.Helper()
	told := false
	for line := range strings.Lines(log) {
		var entry map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &entry), line)
		assert.NotEqual(t, "error", entry["level"], line)
		if entry["msg"] == "admission" {
			told = true
			assert.Equal(t, "shop", entry["namespace"])
			assert.Equal(t, "cart-0", entry["pod"])
			assert.Equal(t, "webhook", entry["logger"])
		}
	}
	assert.True(t, told, log)
}

func postPod(t *testing.T, port int, roots *x509.CertPool) *admissionv1.AdmissionResponse {
	t.Helper()
	const review = `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"group":"","version":"v1","kind":"Pod"},` +
		`"namespace":"shop","operation":"CREATE","object":{"metadata":{"name":"cart-0","labels":{"app":"cart"}},"spec":{"containers":[{"name":"cart"}]}}}}`
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("https://127.0.0.1:%d%s", port, webhook.PodPath), bytes.NewReader([]byte(review)))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, "HTTP/2.0", response.Proto)
	require.Equal(t, http.StatusOK, response.StatusCode)
	var answer admissionv1.AdmissionReview
	require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
	return answer.Response
}

// TestWebhookDoesNotStart: what is wrong is told, and nothing runs.
func TestWebhookDoesNotStart(t *testing.T) {
	dir, _ := writeCertificate(t)
	bad := writeConfig(t, t.TempDir(), "trustDomian: x")
	good := func() *settings {
		return &settings{
			rest: &rest.Config{Host: "http://127.0.0.1:1"}, healthAddress: "0", metricsAddress: "0",
			server: webhook.ServerOptions{Host: "127.0.0.1", Port: freePort(t), CertDir: dir, CertName: "tls.crt", KeyName: "tls.key"},
		}
	}
	for name, tt := range map[string]struct {
		change func(*settings)
		want   string
	}{
		"a wrong configuration": {func(s *settings) { s.config = bad }, "configuration " + bad + `: trustDomian`},
		"no configuration":      {func(s *settings) { s.config = "/nowhere.yaml" }, "configuration: open /nowhere.yaml: no such file or directory"},
		"no certificate":        {func(s *settings) { s.server.CertName = "none.crt" }, "serving certificate: open " + filepath.Join(dir, "none.crt") + ": no such file or directory"},
		"no such API server":    {func(s *settings) { s.rest = &rest.Config{Host: "http://[::1"} }, "manager: "},
	} {
		t.Run(name, func(t *testing.T) {
			s := good()
			tt.change(s)
			err := runWebhook(t.Context(), s, "v1.2.3", logr.Discard(), prometheus.NewRegistry())
			require.Error(t, err)
			assert.Contains(t, err.Error(), tt.want)
		})
	}
}

// TestUseLogger: what libraries say comes out where we log.
func TestUseLogger(t *testing.T) {
	before := slog.Default()
	t.Cleanup(func() {
		slog.SetDefault(before)
		klog.ClearLogger()
	})
	var told strings.Builder
	useLogger(funcr.New(func(_, args string) { told.WriteString(args + "\n") }, funcr.Options{}))
	klog.Info("from client-go")
	log.Print("from net/http")
	ctrl.Log.Info("from controller-runtime")
	for _, message := range []string{"from client-go", "from net/http", "from controller-runtime"} {
		assert.Contains(t, told.String(), `"msg"="`+message+`"`)
	}
}

// TestManager: the manager knows every kind that is read or written, and serves with our
// server.
func TestManager(t *testing.T) {
	dir, _ := writeCertificate(t)
	server, err := webhook.NewServer(webhook.ServerOptions{Host: "127.0.0.1", Port: freePort(t), CertDir: dir, CertName: "tls.crt", KeyName: "tls.key"})
	require.NoError(t, err)
	api := apiServer(t, nil)
	mgr, err := newManager(&settings{rest: &rest.Config{Host: api.URL}, healthAddress: "0", metricsAddress: "0"}, server, logr.Discard())
	require.NoError(t, err)
	for _, kind := range []client.Object{&corev1.Pod{}, &corev1.Service{}, &corev1.Namespace{}, &cmapi.Certificate{}} {
		gvks, _, err := mgr.GetScheme().ObjectKinds(kind)
		require.NoError(t, err)
		assert.Len(t, gvks, 1)
		_, err = mgr.GetRESTMapper().RESTMapping(gvks[0].GroupKind(), gvks[0].Version)
		assert.NoError(t, err)
	}
	assert.Same(t, server.Hooks(), mgr.GetWebhookServer())
	assert.Greater(t, mgr.GetControllerOptions().CacheSyncTimeout, 365*24*time.Hour, "the webhook serves on while cert-manager is not installed")

	_, err = newManager(&settings{rest: &rest.Config{Host: api.URL}, metricsAddress: "no address", healthAddress: "no address"}, server, logr.Discard())
	assert.ErrorContains(t, err, "manager: error listening on no address")
}
