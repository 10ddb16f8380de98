package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	certutil "k8s.io/client-go/util/cert"

	"example.io/mtls-injector/e2e/internal/binaries"
)

const (
	// EnabledLabel is the namespace label that opts a namespace's pods in.
	EnabledLabel = "mtls-enabled"

	webhookPath    = "/mutate-v1-pod"
	webhookTimeout = 10 // seconds
	// Another program can take a port between the moment it is found free and the
	// moment the webhook binds it.
	webhookStarts = 3
)

// WebhookOptions say which webhook to run and how.
type WebhookOptions struct {
	// Config is the path of the injector's configuration file; none means its defaults.
	Config string
	// Args are further flags of "mtls-injector webhook".
	Args []string
	// Binary replaces the program built from the working tree.
	Binary string
	// Name is the MutatingWebhookConfiguration's; default "mtls-injector".
	Name string
	// Workloads are kinds that are validated besides the built-in ones: custom resources with
	// a pod template at spec.template.
	Workloads []admissionv1.Rule
	// SelfManaged has it make its own certificate, with the flags that Args add: those of the
	// CA's Secret. It is registered without a CABundle, which it is to fill in.
	SelfManaged bool
	// Unregistered leaves the API server unaware of it until Register.
	Unregistered bool
	// Kubeconfig is how it reaches the API server; by default directly, as InjectorConfig's
	// user.
	Kubeconfig string
}

// Webhook is a running injector.
type Webhook struct {
	Name string
	// URL is where the API server sends pods.
	URL string
	// CABundle verifies URL's certificate (PEM). It is empty for one that makes its own.
	CABundle []byte
	// HealthURL and MetricsURL are bases: append /readyz, /healthz or /metrics.
	HealthURL, MetricsURL string
	// LogFile is where it logs.
	LogFile string
	// PID is its process.
	PID int

	cluster   *Cluster
	process   *process
	dir       string
	workloads []admissionv1.Rule
}

// RunWebhook starts the injector's webhook as a user with its own permissions only,
// waits until it is ready, and registers it. It runs until its Stop or the
// cluster's; ctx bounds only the start.
func (c *Cluster) RunWebhook(ctx context.Context, opts WebhookOptions) (*Webhook, error) {
	if opts.Binary == "" {
		product, err := binaries.EnsureProduct(ctx, c.progress)
		if err != nil {
			return nil, err
		}
		opts.Binary = product.Injector
	}
	if opts.Name == "" {
		opts.Name = injectorUser
	}
	w := &Webhook{Name: opts.Name, cluster: c, workloads: opts.Workloads}
	if !opts.SelfManaged {
		var err error
		if w.dir, w.CABundle, err = c.servingCertificate(); err != nil {
			return nil, err
		}
	}
	c.progress("starting the webhook")
	if err := w.start(ctx, opts); err != nil {
		return nil, errors.Join(err, w.Stop())
	}
	c.onStop(w.Stop)
	if opts.Unregistered {
		return w, nil
	}
	return w, w.Register(ctx)
}

// Register makes the API server send it the pods and workloads of namespaces that are opted
// in, and these Namespaces.
func (w *Webhook) Register(ctx context.Context) error {
	if err := w.cluster.RegisterWebhook(ctx, w.Name, w.URL, w.CABundle); err != nil {
		return err
	}
	return w.cluster.RegisterValidation(ctx, w.Name, strings.TrimSuffix(w.URL, webhookPath), w.CABundle, w.workloads...)
}

// Unregister undoes Register.
func (w *Webhook) Unregister(ctx context.Context) error {
	return w.cluster.UnregisterWebhook(ctx, w.Name)
}

// Stop unregisters the webhook and ends its process.
func (w *Webhook) Stop() error {
	var errs []error
	if w.process != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		errs = append(errs, w.Unregister(ctx), w.process.stop())
		w.process = nil
	}
	return errors.Join(append(errs, os.RemoveAll(w.dir))...)
}

// Kill ends the webhook's process as a crash does, at once, and returns when it has
// ended. It stays registered. Stop is still to be called.
func (w *Webhook) Kill() error { return w.process.kill() }

// InjectorConfig returns the client configuration of the injector: it may do what it needs
// and nothing else.
func (c *Cluster) InjectorConfig() (*rest.Config, error) { return c.ConfigForUser(injectorUser) }

// RegisterWebhook makes the API server call a pod webhook on this machine for every
// pod created in a namespace labelled mtls-enabled=true, and refuse the pod when
// it cannot.
func (c *Cluster) RegisterWebhook(ctx context.Context, name, url string, caBundle []byte) error {
	fail, none, again := admissionv1.Fail, admissionv1.SideEffectClassNone, admissionv1.IfNeededReinvocationPolicy
	timeout := int32(webhookTimeout)
	config := &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []admissionv1.MutatingWebhook{{
			Name:         "pods." + name + ".example.io",
			ClientConfig: admissionv1.WebhookClientConfig{URL: &url, CABundle: caBundle},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{EnabledLabel: "true"}},
			FailurePolicy:           &fail,
			SideEffects:             &none,
			ReinvocationPolicy:      &again,
			TimeoutSeconds:          &timeout,
			AdmissionReviewVersions: []string{"v1"},
		}},
	}
	if err := c.Client.Create(ctx, config); err != nil {
		return fmt.Errorf("registering the webhook %s: %w", name, err)
	}
	return nil
}

// start starts the process, again with other ports should it end at once.
func (w *Webhook) start(ctx context.Context, opts WebhookOptions) error {
	var err error
	if opts.Kubeconfig == "" {
		if opts.Kubeconfig, err = w.cluster.KubeconfigForUser(injectorUser); err != nil {
			return err
		}
	}
	for range webhookStarts {
		err = w.startOnce(ctx, opts)
		if !errors.Is(err, errEnded) {
			break
		}
	}
	return err
}

func (w *Webhook) startOnce(ctx context.Context, opts WebhookOptions) error {
	ports, err := freePorts(ctx, 3)
	if err != nil {
		return err
	}
	serving, health, metrics := ports[0], "127.0.0.1:"+ports[1], "127.0.0.1:"+ports[2]
	args := []string{
		"webhook", "--kubeconfig", opts.Kubeconfig,
		"--bind-address", "127.0.0.1", "--port", serving, "--cert-dir", w.dir,
		"--health-probe-bind-address", health, "--metrics-bind-address", metrics,
		"--leader-elect=false", "--zap-log-level", "info",
	}
	if opts.Config != "" {
		args = append(args, "--config", opts.Config)
	}
	host := "127.0.0.1"
	if opts.SelfManaged {
		host = "localhost" // it can have no addresses in its certificate
		args = append(args, "--serving-cert-mode=self-managed", "--serving-cert-dns-names", host, "--webhook-configuration-name", w.Name)
	}
	p, err := w.cluster.startProcess(w.Name, opts.Binary, append(args, opts.Args...)...)
	if err != nil {
		return err
	}
	w.URL = "https://" + net.JoinHostPort(host, serving) + webhookPath
	w.HealthURL, w.MetricsURL = "http://"+health, "http://"+metrics
	w.LogFile, w.PID = p.logFile, p.cmd.Process.Pid
	if err := p.ready(ctx, func(ctx context.Context) error { return get(ctx, w.HealthURL+"/readyz") }); err != nil {
		return errors.Join(err, p.stop())
	}
	w.process = p
	return nil
}

// servingCertificate makes a CA and a certificate that it signed for this machine. It returns
// the folder with the latter's files, and what verifies them (PEM).
func (c *Cluster) servingCertificate() (dir string, caBundle []byte, err error) {
	chain, key, err := certutil.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost"})
	if err != nil {
		return "", nil, fmt.Errorf("making a webhook's certificate: %w", err)
	}
	certs, err := certutil.ParseCertsPEM(chain)
	if err != nil {
		return "", nil, fmt.Errorf("reading a webhook's certificate: %w", err)
	}
	// The leaf comes first, the CA last.
	if caBundle, err = certutil.EncodeCertificates(certs[len(certs)-1]); err != nil {
		return "", nil, fmt.Errorf("encoding a webhook's CA: %w", err)
	}
	if dir, err = os.MkdirTemp(c.dir, "webhook-certs-"); err != nil {
		return "", nil, fmt.Errorf("making a webhook's certificate folder: %w", err)
	}
	for name, data := range map[string][]byte{"tls.crt": chain, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return dir, nil, fmt.Errorf("writing a webhook's %s: %w", name, err)
		}
	}
	return dir, caBundle, nil
}

// freePorts finds n different ports that nobody listens on now.
func freePorts(ctx context.Context, n int) ([]string, error) {
	ports := make([]string, 0, n)
	for range n {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("finding a free port: %w", err)
		}
		// Held until all are found, so that they differ.
		defer func() { _ = listener.Close() }()
		_, port, err := net.SplitHostPort(listener.Addr().String())
		if err != nil {
			return nil, fmt.Errorf("finding a free port: %w", err)
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// get succeeds if the URL answers 200.
func get(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}
