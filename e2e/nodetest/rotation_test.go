//go:build node

package nodetest

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/demo/authority"
)

// TestRotation has certificates that live two minutes, and servers that take the renewed ones
// in three ways. While they are called all the time, the CA is rolled over: its successor is
// trusted, then signs, then the old one is dropped. Not one handshake may fail, and openssl
// never sees a certificate that has expired. LONG=1 runs it for half an hour in place of five
// minutes.
func TestRotation(t *testing.T) {
	duration := 5 * time.Minute
	if os.Getenv("LONG") != "" {
		duration = 30 * time.Minute
	}
	old, err := authority.New("The old CA")
	require.NoError(t, err)
	next, err := authority.New("The next CA")
	require.NoError(t, err)
	servers := rotationServers()
	r := newRotation(t)
	r.issue(old)
	r.trust(old)
	r.giveNginx()
	for _, s := range servers {
		r.serve(s)
	}
	for _, s := range servers {
		r.awaitWorkload(s.name)
	}
	r.watchFromOutside(servers)
	calls, stop := r.call(servers)
	begin := time.Now()

	r.trust(old, next)
	r.awaitStartedAnew("by-restart") // it reads its files once
	r.issue(next)
	r.awaitSignedBy(next)
	r.awaitStartedAnew("by-restart")
	r.trust(next)
	r.Logf("the CA was rolled over within %s", time.Since(begin).Round(time.Second))

	// Each has renewed twice at least, and the time is over.
	require.NoError(t, r.WaitFor(within(r.T, duration+4*time.Minute), "the renewals", func(context.Context) error {
		for _, s := range servers {
			if n := calls.certificates(s.name); n < 3 {
				return fmt.Errorf("%s has shown %d certificates", s.name, n)
			}
		}
		if left := time.Until(begin.Add(duration)); left > 0 {
			return fmt.Errorf("%s are left", left)
		}
		return nil
	}))
	stop()
	r.report(calls, servers, time.Since(begin))
}

// report checks what came of it.
func (r *rotation) report(calls *callers, servers []rotationServer, took time.Duration) {
	r.Helper()
	assert.Empty(r, calls.failed, "failed handshakes")
	log, err := r.Logs(r.Context(), r.namespace, observer, "app")
	require.NoError(r, err)
	looks, wrong := openSSLLooks(log)
	assert.Empty(r, wrong, "what openssl saw")
	assert.Greater(r, looks, len(servers)*int(took/(4*time.Second)), "openssl looked too seldom")
	r.Logf("measured: rotation for %s: %d handshakes, %d failed; %d looks with openssl, %d of them wrong",
		took.Round(time.Second), calls.ok, len(calls.failed), looks, len(wrong))
	for _, s := range servers {
		r.Logf("measured: certificates that %s has shown: %d", s.name, calls.certificates(s.name))
	}
	signalled := r.podOf(r.Context(), "by-signal")
	r.checkReloads(signalled, calls.certificates("by-signal")-1)
	r.checkMemory(signalled)
	r.checkMemory(r.podOf(r.Context(), "by-itself"))
	for _, pod := range []*corev1.Pod{signalled, r.podOf(r.Context(), "by-itself")} {
		for _, status := range pod.Status.ContainerStatuses {
			assert.Zero(r, status.RestartCount, "%s of %s", status.Name, pod.Name)
		}
	}
}

// openSSLLooks counts the looks in the observer's log, and returns those that are wrong, each
// with what openssl said.
func openSSLLooks(log string) (looks int, wrong []string) {
	_, log, _ = strings.Cut("\n"+log, "\nopenssl: ")
	for look := range strings.SplitSeq(log, "\nopenssl: ") {
		looks++
		if line, _, _ := strings.Cut(look, "\n"); !strings.Contains(line, " exit=0 hello (Certificate will not expire) serial=") {
			wrong = append(wrong, look)
		}
	}
	return looks, wrong
}

// giveNginx makes nginx's configuration.
func (r *rotation) giveNginx() {
	r.Helper()
	text, err := os.ReadFile("testdata/software/nginx.conf")
	require.NoError(r, err)
	config := &corev1.ConfigMap{Data: map[string]string{"nginx.conf": string(text)}}
	config.Namespace, config.Name = r.namespace, "nginx"
	require.NoError(r, r.Client.Create(r.Context(), config))
}

// awaitWorkload waits for a pod that is ready.
func (r *rotation) awaitWorkload(name string) {
	r.Helper()
	require.NoError(r, r.WaitFor(within(r.T, 4*time.Minute), name+" to be ready", func(ctx context.Context) error {
		pods, err := r.WaitForPods(ctx, r.namespace, map[string]string{"app": name}, 1)
		if err != nil {
			return err
		}
		return ready(&pods[0])
	}))
}

// awaitStartedAnew waits until a workload has no pod but one that was made after the call.
func (r *rotation) awaitStartedAnew(name string) {
	r.Helper()
	called := time.Now()
	require.NoError(r, r.WaitFor(within(r.T, 4*time.Minute), name+" to be started anew", func(ctx context.Context) error {
		var all corev1.PodList
		if err := r.Client.List(ctx, &all, client.InNamespace(r.namespace), client.MatchingLabels{"app": name}); err != nil {
			return err
		}
		for _, pod := range all.Items {
			if err := ready(&pod); err != nil || !pod.CreationTimestamp.After(called) {
				return fmt.Errorf("%s was made at %s: %w", pod.Name, pod.CreationTimestamp, err)
			}
		}
		return nil
	}))
}

// awaitSignedBy waits until all pods, and what servers show, are signed by a CA.
func (r *rotation) awaitSignedBy(ca *authority.Authority) {
	r.Helper()
	roots := x509.NewCertPool()
	require.True(r, roots.AppendCertsFromPEM(ca.CA.Cert))
	require.NoError(r, r.WaitFor(within(r.T, 6*time.Minute), "all certificates to be the next CA's", func(ctx context.Context) error {
		var all corev1.PodList
		if err := r.Client.List(ctx, &all); err != nil {
			return err
		}
		for _, pod := range all.Items {
			if pod.Namespace != r.namespace {
				continue
			}
			data, err := os.ReadFile(filepath.Join(volumeOf(&pod, "kubernetes.io~csi", "mtls-"), "tls.crt"))
			if err != nil {
				return err // one that goes, too, for as long as it is there
			}
			certs, err := certutil.ParseCertsPEM(data)
			if err != nil {
				return err
			}
			if _, err := certs[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
				return fmt.Errorf("%s: %w", pod.Name, err)
			}
		}
		return nil
	}))
}
