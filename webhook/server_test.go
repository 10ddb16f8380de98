package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"example.io/mtls-injector/intent"
)

func TestServerProtocols(t *testing.T) {
	for name, tt := range map[string]struct {
		offered, asked bool
		want           string
	}{
		"HTTP/2":                              {true, true, "HTTP/2.0"},
		"HTTP/1.1, as from the API server":    {true, false, "HTTP/1.1"},
		"HTTP/1.1 where HTTP/2 is not wanted": {false, false, "HTTP/1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, tt.offered, 0, newTestHandler(t, shop()))
			answer := r.post(t, r.client(tt.asked), fixture(t, "injected"))
			assert.Equal(t, tt.want, answer.protocol)
			assert.Equal(t, uint16(tls.VersionTLS13), answer.tls)
			require.Equal(t, http.StatusOK, answer.status)
			assert.True(t, decodeResponse(t, answer.body).Allowed)
		})
	}
}

func TestServerWithoutHTTP2(t *testing.T) {
	r := run(t, false, 0, newTestHandler(t, shop()))
	conn, err := tls.Dial("tcp", r.address, &tls.Config{RootCAs: r.roots, NextProtos: []string{"h2"}})
	if err == nil {
		conn.Close()
	}
	assert.EqualError(t, err, "remote error: tls: no application protocol")
}

func TestServerRefusesOldTLS(t *testing.T) {
	r := run(t, true, 0, newTestHandler(t, shop()))
	conn, err := tls.Dial("tcp", r.address, &tls.Config{RootCAs: r.roots, MaxVersion: tls.VersionTLS12})
	if err == nil {
		conn.Close()
	}
	assert.EqualError(t, err, "remote error: tls: protocol version not supported")
}

func TestServerNotFound(t *testing.T) {
	r := run(t, true, 0, newTestHandler(t, shop()))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.address+"/", nil)
	require.NoError(t, err)
	response, err := r.client(true).Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	assert.Equal(t, http.StatusNotFound, response.StatusCode)
}

// TestServerCertificateChanges: a renewed certificate serves new connections, and one
// that is broken leaves the old one.
func TestServerCertificateChanges(t *testing.T) {
	r := run(t, true, 0, newTestHandler(t, shop()))
	serial := func() int64 {
		conn, err := tls.Dial("tcp", r.address, &tls.Config{InsecureSkipVerify: true}) // it is self-signed
		if err != nil {
			return -1
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	require.Equal(t, int64(1), serial())
	require.Eventually(t, func() bool {
		// The watch may not have begun when the first change comes.
		writeValidCertificate(t, r.dir, 2)
		return serial() == 2
	}, 30*time.Second, 100*time.Millisecond)

	require.NoError(t, os.WriteFile(filepath.Join(r.dir, "tls.crt"), []byte("broken"), 0o600))
	require.Error(t, r.certificate.(*certificateFiles).ReadCertificate())
	assert.Equal(t, int64(2), serial())
	require.NoError(t, r.ready()["certificate"])
}

// TestDrain: told to stop, the server is not ready any more, but serves on; what it has
// begun when it stops is answered.
func TestDrain(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		t.Run(fmt.Sprintf("http2=%t", http2), func(t *testing.T) {
			begun, release := make(chan struct{}), make(chan struct{})
			source := &memory{onLive: func(ctx context.Context) (Surroundings, error) {
				close(begun)
				<-release
				return shop().cached["shop"], ctx.Err()
			}}
			slow := NewPodHandler(PodOptions{Source: source, Metrics: newMetrics(t), Defaults: intent.BuiltinDefaults, VerifyWorkload: believe, Log: logr.Discard()})
			r := run(t, http2, 300*time.Millisecond, slow)
			for name, err := range r.ready() {
				require.NoError(t, err, name)
			}
			body, answers := fixture(t, "injected"), make(chan answered, 1)
			go func() {
				answer, err := exchange(r.client(http2), r.address, body)
				assert.NoError(t, err)
				answers <- answer
			}()
			<-begun

			r.stop()
			require.Eventually(t, func() bool { return r.ready()["serving"] != nil }, 10*time.Second, time.Millisecond)
			assert.EqualError(t, r.ready()["serving"], "the server is about to stop")
			require.Eventually(t, func() bool { return r.ready()["server"] != nil }, 10*time.Second, 10*time.Millisecond, "it stops listening")
			select {
			case err := <-r.ended:
				t.Fatal("stopped with a request unanswered", err)
			default:
			}
			close(release)
			answer := <-answers
			require.Equal(t, http.StatusOK, answer.status)
			assert.NotEmpty(t, decodeResponse(t, answer.body).Patch)
			assert.NoError(t, <-r.ended)
		})
	}
}

// TestDrainServesOn: before the delay is over, requests are served as ever, but clients
// are sent away from their connections.
func TestDrainServesOn(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		t.Run(fmt.Sprintf("http2=%t", http2), func(t *testing.T) {
			r := run(t, http2, time.Hour, newTestHandler(t, shop()))
			client, body := r.client(http2), fixture(t, "injected")
			assert.False(t, r.post(t, client, body).again)
			assert.True(t, r.post(t, client, body).again, "connections are kept")

			r.stop()
			require.Eventually(t, func() bool { return r.ready()["serving"] != nil }, 10*time.Second, time.Millisecond)
			require.NoError(t, r.ready()["server"])
			answer := r.post(t, client, body)
			assert.Equal(t, http.StatusOK, answer.status)
			assert.True(t, answer.again)
			if !http2 {
				assert.True(t, answer.last)
			}
			require.Eventually(t, func() bool { return !r.post(t, client, body).again }, 10*time.Second, time.Millisecond,
				"a connection of its own for each request")
		})
	}
}

func TestReadiness(t *testing.T) {
	dir := t.TempDir()
	writeValidCertificate(t, dir, 1)
	server, err := NewServer(ServerOptions{Host: "127.0.0.1", Port: freePort(t), CertDir: dir, CertName: "tls.crt", KeyName: "tls.key"})
	require.NoError(t, err)
	checks := server.readiness(func() bool { return false }, func() *intent.Defaults { return nil })
	for name, want := range map[string]string{
		"caches":        "Namespaces and Services are not all known yet",
		"configuration": "no configuration is loaded",
		"server":        "webhook server has not been started yet",
	} {
		assert.EqualError(t, checks[name](nil), want)
	}
	assert.NoError(t, checks["certificate"](nil))
	assert.NoError(t, checks["serving"](nil))
	assert.Len(t, checks, 5)
}

func TestNewServerFails(t *testing.T) {
	dir := t.TempDir()
	opts := ServerOptions{CertDir: dir, CertName: "tls.crt", KeyName: "tls.key"}
	_, err := NewServer(opts)
	assert.EqualError(t, err, "serving certificate: open "+filepath.Join(dir, "tls.crt")+": no such file or directory")

	writeValidCertificate(t, dir, 1)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tls.key"), []byte("broken"), 0o600))
	_, err = NewServer(opts)
	assert.EqualError(t, err, "serving certificate: tls: failed to find any PEM data in key input")
}

// managed is a manager with informers in the test's hands and no API server.
func managed(t *testing.T, server *Server, informers cache.Cache) (manager.Manager, string) {
	t.Helper()
	health := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	mgr, err := manager.New(&rest.Config{}, manager.Options{
		MapperProvider:         func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return meta.NewDefaultRESTMapper(nil), nil },
		NewCache:               func(*rest.Config, cache.Options) (cache.Cache, error) { return informers, nil },
		NewClient:              func(*rest.Config, client.Options) (client.Client, error) { return nil, nil },
		Metrics:                metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress: health,
		WebhookServer:          server.Hooks(),
		Logger:                 logr.Discard(),
	})
	require.NoError(t, err)
	return mgr, "http://" + health
}

func get(t testing.TB, url string) (int, string) {
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

func TestSetupWithManager(t *testing.T) {
	dir := t.TempDir()
	roots := x509.NewCertPool()
	roots.AddCert(writeValidCertificate(t, dir, 1))
	port := freePort(t)
	server, err := NewServer(ServerOptions{Host: "127.0.0.1", Port: port, CertDir: dir, CertName: "tls.crt", KeyName: "tls.key", HTTP2: true})
	require.NoError(t, err)
	informers := &informertest.FakeInformers{}
	mgr, probes := managed(t, server, informers)
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, server.SetupWithManager(t.Context(), mgr, Options{Defaults: intent.BuiltinDefaults, Registerer: registry, Log: logr.Discard()}))

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(server.Drain(ctx, 0)) }()
	require.Eventually(t, func() bool {
		status, _ := get(t, probes+"/readyz")
		return status == http.StatusOK
	}, 10*time.Second, time.Millisecond)
	status, _ := get(t, probes+"/healthz")
	assert.Equal(t, http.StatusOK, status)
	_, verbose := get(t, probes+"/readyz?verbose")
	for _, name := range []string{"caches", "configuration", "certificate", "server", "serving"} {
		assert.Contains(t, verbose, "[+]"+name+" ok")
	}

	namespaces, err := informers.FakeInformerFor(ctx, &corev1.Namespace{})
	require.NoError(t, err)
	namespaces.Add(namespace("shop", nil))
	services, err := informers.FakeInformerFor(ctx, &corev1.Service{})
	require.NoError(t, err)
	services.Add(service("shop", "orders", map[string]string{"app.kubernetes.io/name": "orders"}))
	r := &running{Server: server, address: fmt.Sprintf("127.0.0.1:%d", port), roots: roots}
	answer := r.post(t, r.client(true), fixture(t, "injected"))
	assert.Contains(t, string(decodeResponse(t, answer.body).Patch), "orders.shop.svc.cluster.local")
	for _, path := range []string{PodPath, WorkloadPath, NamespacePath} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+r.address+path, nil)
		require.NoError(t, err)
		response, err := r.client(true).Do(request)
		require.NoError(t, err)
		response.Body.Close()
		assert.Equal(t, http.StatusMethodNotAllowed, response.StatusCode, path)
	}
	families, err := registry.Gather()
	require.NoError(t, err)
	assert.Len(t, families, 5)

	stop()
	assert.NoError(t, <-ended)
}

func TestSetupWithManagerFails(t *testing.T) {
	dir := t.TempDir()
	writeValidCertificate(t, dir, 1)
	server, err := NewServer(ServerOptions{Host: "127.0.0.1", Port: freePort(t), CertDir: dir, CertName: "tls.crt", KeyName: "tls.key"})
	require.NoError(t, err)
	mgr, _ := managed(t, server, &informertest.FakeInformers{Error: fmt.Errorf("no such kind")})
	err = server.SetupWithManager(t.Context(), mgr, Options{Registerer: prometheus.NewRegistry()})
	assert.EqualError(t, err, "informer for *v1.Namespace: no such kind")

	mgr, _ = managed(t, server, &informertest.FakeInformers{})
	registry := prometheus.NewRegistry()
	_, err = NewMetrics(registry)
	require.NoError(t, err)
	err = server.SetupWithManager(t.Context(), mgr, Options{Registerer: registry})
	assert.EqualError(t, err, "webhook metrics: duplicate metrics collector registration attempted")
}
