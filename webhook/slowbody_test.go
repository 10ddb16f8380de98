package webhook

import (
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSlowBody: a request whose body does not come is answered and over, and its
// connection serves others, where the protocol can tell requests apart.
func TestSlowBody(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/2": true, "HTTP/1.1": false} {
		t.Run(name, func(t *testing.T) {
			r := run(t, http2, 0, newTestHandler(t, shop()))
			r.bodyTimeout = 100 * time.Millisecond
			client := r.client(http2)
			client.Timeout = 30 * time.Second
			body, begin := io.Pipe()
			t.Cleanup(func() { require.NoError(t, begin.Close()) })
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+r.address+PodPath, body)
			require.NoError(t, err)
			request.Header.Set("Content-Type", "application/json")
			request.ContentLength = 1000
			go func() { _, _ = begin.Write([]byte(`{"kind":`)) }()

			response, err := client.Do(request)
			require.NoError(t, err)
			defer response.Body.Close()
			assert.Equal(t, http.StatusRequestTimeout, response.StatusCode)
			text, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			assert.Equal(t, "the body took too long to come\n", string(text))

			r.bodyTimeout = time.Hour
			again := r.post(t, client, fixture(t, "injected"))
			assert.Equal(t, http.StatusOK, again.status)
		})
	}
}

// TestBodyTimeoutIsOver: once a body has come, the deadline for it is no more concern of
// the answer's, nor of the next request on the connection.
func TestBodyTimeoutIsOver(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/2": true, "HTTP/1.1": false} {
		t.Run(name, func(t *testing.T) {
			r := run(t, http2, 0, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				text, err := io.ReadAll(r.Body)
				assert.NoError(t, err)
				// As if the work took until after the deadline.
				assert.NoError(t, http.NewResponseController(w).SetReadDeadline(time.Now().Add(-time.Second)))
				_, _ = w.Write([]byte(strconv.Itoa(len(text))))
			}))
			client, body := r.client(http2), fixture(t, "passthrough")
			for range 3 {
				answer := r.post(t, client, body)
				assert.Equal(t, http.StatusOK, answer.status)
				assert.Equal(t, strconv.Itoa(len(body)), string(answer.body))
			}
		})
	}
}
