package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/intent"
)

// usual is a webhook as most are written: a handler of controller-runtime that decodes
// the typed Pod, copies it, changes the copy, marshals it, and has the library find the
// differences. It makes the decision of the injector, too.
type usual struct {
	decoder   admission.Decoder
	defaults  *intent.Defaults
	additions *additions
}

// Handle implements admission.Handler.
func (u *usual) Handle(_ context.Context, req admission.Request) admission.Response {
	pod := &corev1.Pod{}
	if err := u.decoder.Decode(req, pod); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	pod = pod.DeepCopy()
	namespace := &intent.Namespace{Name: req.Namespace}
	if result := intent.Resolve(u.defaults, namespace, intent.PodOf(pod), nil); result.Intent == nil {
		return admission.Allowed(string(result.Skip))
	}
	u.additions.addTo(pod)
	changed, err := json.Marshal(pod)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(req.Object.Raw, changed)
}

// protocols are what both webhooks offer. The API server speaks HTTP/1.1 with webhooks
// behind a Service; only those on localhost, as here, would get HTTP/2, which takes some
// 0.2 ms more (k8s.io/apiserver, pkg/util/webhook/client.go).
func protocols() []string { return []string{"http/1.1"} }

// runUsual serves the usual webhook over TLS and registers it. It ends with the program.
func runUsual(ctx context.Context, c *cluster.Cluster, added *additions) error {
	cert, key, err := certutil.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("reading the certificate: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("serving the usual webhook: %w", err)
	}
	handler := &admission.Webhook{Handler: &usual{
		decoder: admission.NewDecoder(c.Scheme), defaults: intent.BuiltinDefaults(), additions: added,
	}}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13, NextProtos: protocols()},
	}
	go func() {
		if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "the usual webhook:", err) // and then no pod can be made that way
		}
	}()
	return register(ctx, c, wayUsual, "https://"+listener.Addr().String()+"/", cert)
}
