package webhook

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/zapr"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"example.io/mtls-injector/intent"
)

// benchHandler is our handler with the logging that production has. There, zap leaves out
// most of more than a hundred equal lines a second; here, every line is written.
func benchHandler(b *testing.B) http.Handler {
	b.Helper()
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), zap.InfoLevel)
	defaults := intent.BuiltinDefaults()
	return NewPodHandler(PodOptions{
		Source: shop(), Metrics: newMetrics(b), Log: zapr.NewLogger(zap.New(core)),
		VerifyWorkload: believe,
		Defaults:       func() *intent.Defaults { return defaults },
	})
}

// BenchmarkHandler is the whole of a request, from the HTTP request to the answer's last
// byte: our handler (ours) and the usual way (usual), which does not log, for a pod that
// is injected and one that is none of our business.
func BenchmarkHandler(b *testing.B) {
	for _, pod := range []string{"injected", "passthrough"} {
		body := fixture(b, pod)
		for _, way := range []struct {
			name    string
			handler http.Handler
		}{
			{"usual", newUsualHandler(shop())}, {"ours", benchHandler(b)},
		} {
			require.Equal(b, pod == "injected", post(b, way.handler, body).Patch != nil)
			b.Run(pod+"/"+way.name, func(b *testing.B) { serveLoop(b, way.handler, body) })
		}
	}
}

func serveLoop(b *testing.B, handler http.Handler, body []byte) {
	b.Helper()
	reader := bytes.NewReader(body)
	r := httptest.NewRequest(http.MethodPost, PodPath+"?timeout=10s", nil)
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = int64(len(body))
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		r.Body = io.NopCloser(reader)
		w.Body.Reset()
		handler.ServeHTTP(w, r)
	}
	require.Equal(b, http.StatusOK, w.Code)
}

// BenchmarkDecode is what the strict decoding takes of that.
func BenchmarkDecode(b *testing.B) {
	body := fixture(b, "injected")
	r := new(reader)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeWith(r, body, always); err != nil {
			b.Fatal(err)
		}
	}
}

// connections is how many clients send at a time, each on a connection of its own.
const connections = 16

// BenchmarkHTTPS is the rate of requests over TLS 1.3 and HTTP/2 on connections that are
// kept, client and server in this process: of an empty handler, which reads the request
// and allows it with the least answer that the API server takes, and of ours. The bare
// one answers with no body at all, which is what HTTP alone costs.
func BenchmarkHTTPS(b *testing.B) {
	for _, way := range []struct {
		name, pod string
		handler   http.Handler
	}{
		{"bare", "injected", answering(nil)},
		{"empty", "injected", answering(send(newTestHandler(b, shop()), fixture(b, "passthrough")).Body.Bytes())},
		{"injected", "injected", benchHandler(b)},
		{"passthrough", "passthrough", benchHandler(b)},
	} {
		b.Run(way.name, func(b *testing.B) { serveHTTPS(b, way.handler, fixture(b, way.pod)) })
	}
}

// answering reads the request and answers what it was given.
func answering(answer []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", jsonMedia)
		_, _ = w.Write(answer)
	})
}

func serveHTTPS(b *testing.B, handler http.Handler, body []byte) {
	b.Helper()
	server := run(b, true, 0, handler)
	clients := make([]*http.Client, connections)
	for i := range clients {
		clients[i] = server.client(true)
		require.Equal(b, http.StatusOK, server.post(b, clients[i], body).status) // connects
	}
	var next, failed atomic.Int64
	b.SetParallelism(connections / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	started := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		client := clients[int(next.Add(1))%connections]
		for pb.Next() {
			if answer, err := exchange(client, server.address, body); err != nil || answer.status != http.StatusOK {
				failed.Add(1)
			}
		}
	})
	b.ReportMetric(float64(b.N)/time.Since(started).Seconds(), "requests/s")
	b.StopTimer()
	require.Zero(b, failed.Load())
	for _, client := range clients {
		client.CloseIdleConnections() // which stopping would wait for
	}
	server.stop()
	require.NoError(b, <-server.ended)
}
