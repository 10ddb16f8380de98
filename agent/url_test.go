package agent_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/agent"
)

func TestURLIsLocal(t *testing.T) {
	for text, wrong := range map[string]string{
		"http://localhost:8001/reload":   "",
		"http://127.0.0.1:8001":          "",
		"http://[::1]:8001/":             "",
		"https://localhost/":             `the reload URL must be like http://localhost:8080/reload, not "https://localhost/"`,
		"localhost:8001":                 `the reload URL must be like http://localhost:8080/reload, not "localhost:8001"`,
		"http://u:p@localhost/":          `the reload URL must be like http://localhost:8080/reload, not "http://u:xxxxx@localhost/"`,
		"http://10.0.0.1/":               `the reload URL must be on localhost, not on "10.0.0.1"`,
		"http://localhost.example.io:80": `the reload URL must be on localhost, not on "localhost.example.io"`,
		"http://\x00":                    "the reload URL: parse \"http://\\x00\": net/url: invalid control character in URL",
	} {
		_, err := agent.NewURLReloader(text)
		if wrong == "" {
			require.NoError(t, err, text)
			continue
		}
		require.EqualError(t, err, wrong)
	}
}

func TestURLReload(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "POST /-/reload", r.Method+" "+r.URL.Path)
		http.Redirect(w, r, "http://example.io/", status)
		_, _ = w.Write([]byte(strings.Repeat("long ", 1000)))
	}))
	defer server.Close()
	reloader, err := agent.NewURLReloader(server.URL + "/-/reload")
	require.NoError(t, err)
	assert.Equal(t, "POST "+server.URL+"/-/reload", reloader.String())

	assert.True(t, reloader.RanBefore(t.Context()))
	require.NoError(t, reloader.Reload(t.Context()))
	status = http.StatusFound
	err = reloader.Reload(t.Context())
	require.ErrorContains(t, err, "/-/reload: 302 Found long long", "nothing is followed")
	assert.Less(t, len(err.Error()), 400)
	status = http.StatusInternalServerError
	require.ErrorContains(t, reloader.Reload(t.Context()), "/-/reload: 500 Internal Server Error long")

	server.Close()
	assert.False(t, reloader.RanBefore(t.Context()))
	require.ErrorContains(t, reloader.Reload(t.Context()), "connection refused")

	withoutPort, err := agent.NewURLReloader("http://127.77.66.55/")
	require.NoError(t, err)
	assert.False(t, withoutPort.RanBefore(t.Context()))
}
