package tap

import (
	"bufio"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const secrets = "/api/v1/namespaces/shop/secrets"

// upstream stands for the API server. It answers everything, and remembers it.
type upstream struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // "METHOD path"
}

func newUpstream(t *testing.T, answer http.HandlerFunc) *upstream {
	t.Helper()
	u := &upstream{}
	u.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.seen = append(u.seen, r.Method+" "+r.URL.Path)
		u.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) requests() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.seen)
}

// config is a user's, whom the API server knows by a token.
func (u *upstream) config() *rest.Config {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: u.Certificate().Raw})
	return &rest.Config{Host: u.URL, BearerToken: "the user's", TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
}

func ok(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, r.Header.Get("Authorization"))
}

// start starts a tap and returns it with the configuration that leads through it.
func start(t *testing.T, config *rest.Config) (*Tap, *rest.Config) {
	t.Helper()
	tapped, err := Start(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tapped.Close()) })
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, tapped.WriteKubeconfig(path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
	through, err := clientcmd.BuildConfigFromFlags("", path)
	require.NoError(t, err)
	return tapped, through
}

// do sends a request through the tap, and returns the answer's status and text.
func do(t *testing.T, through *rest.Config, method, path string) (int, string) {
	t.Helper()
	caller, err := rest.HTTPClientFor(through)
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), method, through.Host+path, strings.NewReader("{}"))
	require.NoError(t, err)
	response, err := caller.Do(request)
	require.NoError(t, err)
	text, err := io.ReadAll(response.Body)
	require.NoError(t, errors.Join(err, response.Body.Close()))
	return response.StatusCode, string(text)
}

func TestForwardsAsTheUser(t *testing.T) {
	server := newUpstream(t, ok)
	tapped, through := start(t, server.config())
	code, text := do(t, through, http.MethodGet, secrets)
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, "Bearer the user's", text)
	assert.NotContains(t, text, tapped.token)
}

func TestForwardsForARealClient(t *testing.T) {
	server := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"web-mtls","namespace":"shop"}}`)
	})
	_, through := start(t, server.config())
	client, err := kubernetes.NewForConfig(through)
	require.NoError(t, err)
	secret, err := client.CoreV1().Secrets("shop").Get(t.Context(), "web-mtls", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, "web-mtls", secret.Name)
}

func TestRefusesOthers(t *testing.T) {
	server := newUpstream(t, ok)
	_, through := start(t, server.config())
	for name, token := range map[string]string{"no token": "", "another token": "guessed"} {
		t.Run(name, func(t *testing.T) {
			stranger := rest.CopyConfig(through)
			stranger.BearerToken = token
			code, text := do(t, stranger, http.MethodDelete, secrets+"/web")
			assert.Equal(t, http.StatusUnauthorized, code)
			assert.Equal(t, "tap: another token\n", text)
		})
	}
	assert.Empty(t, server.requests())
}

func TestRecords(t *testing.T) {
	server := newUpstream(t, ok)
	tapped, through := start(t, server.config())
	story := func() {
		do(t, through, http.MethodGet, secrets)
		do(t, through, http.MethodPost, secrets)
		do(t, through, http.MethodPost, "/api/v1/namespaces/other/secrets")
		do(t, through, http.MethodDelete, secrets+"/web")
		do(t, through, http.MethodPost, secrets)
	}
	story()
	post := Step{"POST", "secrets", "", 1}
	assert.Equal(t, []Step{post, {"POST", "secrets", "", 2}, {"DELETE", "secrets", "web", 1}, {"POST", "secrets", "", 3}}, tapped.Steps(), "everywhere")
	tapped.Record("shop")
	assert.Empty(t, tapped.Steps())
	story()
	assert.Equal(t, []Step{post, {"DELETE", "secrets", "web", 1}, {"POST", "secrets", "", 2}}, tapped.Steps(), "in the namespace")
	assert.Len(t, server.requests(), 10, "all are forwarded")
}

// TestBreaks: what is broken off is done or not done, as the moment says, and not
// answered. What comes before and after it is.
func TestBreaks(t *testing.T) {
	for name, tc := range map[string]struct {
		moment Moment
		want   []string
	}{
		"before": {Before, []string{"POST " + secrets, "POST " + secrets}},
		"after":  {After, []string{"POST " + secrets, "POST " + secrets, "POST " + secrets}},
	} {
		t.Run(name, func(t *testing.T) {
			server := newUpstream(t, ok)
			tapped, through := start(t, server.config())
			var seen [][]string
			tapped.Record("shop")
			tapped.Break(Step{"POST", "secrets", "", 2}, tc.moment, func() { seen = append(seen, server.requests()) })
			for _, want := range []int{http.StatusOK, http.StatusBadGateway, http.StatusOK} {
				code, text := do(t, through, http.MethodPost, secrets)
				assert.Equal(t, want, code)
				if want == http.StatusBadGateway {
					assert.Equal(t, "tap: the test has broken this request off\n", text)
				}
			}
			assert.Equal(t, tc.want, server.requests())
			require.Len(t, seen, 1, "crashes")
			assert.Equal(t, tc.want[:len(tc.want)-1], seen[0], "what the server knew at the crash")
		})
	}
}

func TestBreaksOnlyTheRecording(t *testing.T) {
	server := newUpstream(t, ok)
	tapped, through := start(t, server.config())
	tapped.Record("shop")
	tapped.Break(Step{"DELETE", "secrets", "web", 1}, Before, func() { t.Error("another namespace, or the recording before") })
	code, _ := do(t, through, http.MethodDelete, "/api/v1/namespaces/other/secrets/web")
	assert.Equal(t, http.StatusOK, code)
	tapped.Record("shop")
	code, _ = do(t, through, http.MethodDelete, secrets+"/web")
	assert.Equal(t, http.StatusOK, code)
}

// TestWatches: each event of a watch comes at once, and a client that goes ends it.
func TestWatches(t *testing.T) {
	more, gone := make(chan string), make(chan struct{})
	server := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		for {
			select {
			case event := <-more:
				_, _ = io.WriteString(w, event+"\n")
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				close(gone)
				return
			}
		}
	})
	_, through := start(t, server.config())
	caller, err := rest.HTTPClientFor(through)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, through.Host+secrets+"?watch=true", nil)
	require.NoError(t, err)
	go func() { more <- "first" }()
	response, err := caller.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	events := bufio.NewScanner(response.Body)
	require.True(t, events.Scan())
	assert.Equal(t, "first", events.Text())
	more <- "second"
	require.True(t, events.Scan())
	assert.Equal(t, "second", events.Text())
	cancel()
	<-gone
}

func TestUpstreamIsAway(t *testing.T) {
	server := newUpstream(t, ok)
	tapped, through := start(t, server.config())
	server.Close()
	tapped.Break(Step{"DELETE", "secrets", "web", 1}, After, func() { t.Error("nothing has been done") })
	code, text := do(t, through, http.MethodDelete, secrets+"/web")
	assert.Equal(t, http.StatusBadGateway, code)
	assert.Contains(t, text, "connection refused")
}

func TestStartFails(t *testing.T) {
	for name, tc := range map[string]struct {
		config rest.Config
		want   string
	}{
		"no address":     {rest.Config{Host: "http://[::1"}, "tap: the API server's address: "},
		"no credentials": {rest.Config{Host: "https://192.0.2.1", TLSClientConfig: rest.TLSClientConfig{CertFile: "/none", KeyFile: "/none"}}, "tap: the API server's credentials: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Start(&tc.config)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestWriteKubeconfigFails(t *testing.T) {
	tapped, _ := start(t, newUpstream(t, ok).config())
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.ErrorContains(t, tapped.WriteKubeconfig(filepath.Join(file, "kubeconfig")), "tap: writing the kubeconfig: ")
}
