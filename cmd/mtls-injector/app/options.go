package app

// The flags of `mtls-injector webhook`, and how they become typed values.

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"example.io/mtls-injector/webhook"
	"example.io/mtls-injector/webhook/servingcert"
)

// disabled is the address of an endpoint that is not wanted.
const disabled = "0"

// webhookOptions are the flags of `mtls-injector webhook`.
type webhookOptions struct {
	config     string
	kubeconfig string

	server  webhook.ServerOptions
	serving servingOptions

	healthAddress  string
	metricsAddress string

	leaderElect          bool
	leaderElectNamespace string

	drainDelay      time.Duration
	shutdownTimeout time.Duration

	log zap.Options
}

func (o *webhookOptions) bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.config, "config", "", "`file` with the configuration, read again when it changes (default: the built-in one)")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` that says how to reach the API server (default: the pod's service account)")
	flags.StringVar(&o.server.Host, "bind-address", "0.0.0.0", "IP `address` to serve the webhook on")
	flags.IntVar(&o.server.Port, "port", 9443, "`port` to serve the webhook on")
	flags.StringVar(&o.server.CertDir, "cert-dir", "/etc/mtls-injector/serving-certs", "`folder` with the serving certificate, read again when it changes")
	flags.StringVar(&o.server.CertName, "cert-name", "tls.crt", "`file` in the folder: the certificate chain")
	flags.StringVar(&o.server.KeyName, "key-name", "tls.key", "`file` in the folder: the private key")
	o.serving.bind(flags)
	flags.BoolVar(&o.server.HTTP2, "http2", true, "offer HTTP/2 besides HTTP/1.1")
	flags.StringVar(&o.healthAddress, "health-probe-bind-address", ":8081", "`host:port` of /healthz and /readyz, 0 for none")
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", ":8080", "`host:port` of /metrics, 0 for none")
	flags.BoolVar(&o.leaderElect, "leader-elect", false, "let one replica at a time write Certificates; all replicas serve the webhook")
	flags.StringVar(&o.leaderElectNamespace, "leader-elect-namespace", "", "`namespace` of the leader's Lease (default: the pod's own)")
	flags.DurationVar(&o.drainDelay, "drain-delay", 5*time.Second, "`duration` of serving on after being told to stop, in which the cluster learns to send requests elsewhere")
	flags.DurationVar(&o.shutdownTimeout, "shutdown-timeout", 30*time.Second, "`duration` of waiting after that for requests and controllers to end")
	zapFlags := flag.NewFlagSet("", flag.ContinueOnError)
	o.log.BindFlags(zapFlags)
	flags.AddGoFlagSet(zapFlags)
}

// settings are the options as checked and typed values.
type settings struct {
	config string
	rest   *rest.Config
	server webhook.ServerOptions
	// serving is nil when the certificate comes from files.
	serving *servingcert.Options
	// Addresses are "host:port" or disabled.
	healthAddress, metricsAddress string
	leaderElect                   bool
	leaderElectNamespace          string
	drainDelay, shutdownTimeout   time.Duration
	log                           zap.Options
}

// complete returns the settings, or everything that is wrong at once.
func (o *webhookOptions) complete() (*settings, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	restConfig, err := restConfigOf(o.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	return &settings{
		config: o.config, rest: restConfig, server: o.server, serving: o.serving.complete(restConfig),
		healthAddress: o.healthAddress, metricsAddress: o.metricsAddress,
		leaderElect: o.leaderElect, leaderElectNamespace: o.leaderElectNamespace,
		drainDelay: o.drainDelay, shutdownTimeout: o.shutdownTimeout,
		log: o.log,
	}, nil
}

func (o *webhookOptions) validate() error {
	var errs []error
	wrong := func(flag, format string, args ...any) {
		errs = append(errs, fmt.Errorf("--"+flag+": "+format, args...))
	}
	if net.ParseIP(o.server.Host) == nil {
		wrong("bind-address", "%q is not an IP address", o.server.Host)
	}
	if o.server.Port < 1 || o.server.Port > 65535 {
		wrong("port", "must be from 1 to 65535, not %d", o.server.Port)
	}
	o.serving.validate(wrong)
	for _, name := range []struct{ flag, value string }{
		{"cert-dir", o.server.CertDir}, {"cert-name", o.server.CertName}, {"key-name", o.server.KeyName},
	} {
		if name.value == "" && o.serving.mode == servingFiles {
			wrong(name.flag, "must not be empty")
		}
	}
	for _, address := range []struct{ flag, value string }{
		{"health-probe-bind-address", o.healthAddress}, {"metrics-bind-address", o.metricsAddress},
	} {
		if err := checkAddress(address.value); err != nil {
			wrong(address.flag, "%w", err)
		}
	}
	if o.leaderElect && o.leaderElectNamespace == "" && o.kubeconfig != "" {
		wrong("leader-elect-namespace", "is needed with --leader-elect and --kubeconfig, as there is no pod whose namespace it could be")
	}
	for _, duration := range []struct {
		flag  string
		value time.Duration
	}{
		{"drain-delay", o.drainDelay}, {"shutdown-timeout", o.shutdownTimeout},
	} {
		if duration.value < 0 {
			wrong(duration.flag, "must not be negative, but is %s", duration.value)
		}
	}
	return errors.Join(errs...)
}

// checkAddress wants host:port or the word for none; an empty host is every address.
func checkAddress(address string) error {
	if address == disabled {
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is neither host:port nor 0", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("the port of %q is not from 1 to 65535", address)
	}
	return nil
}
