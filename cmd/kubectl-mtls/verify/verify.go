// Package verify is the command `kubectl mtls verify`: what people do with openssl by hand
// to find out why two pods do not talk, through a port-forward.
//
// The package probe speaks to the port, and the package diagnose judges what it saw. Here is
// what they need: target.go finds the pod, ports.go its port, facts.go what is known of it,
// issue.go has a client certificate issued; print.go prints the report.
package verify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/cmd/kubectl-mtls/steps"
	"example.io/mtls-injector/cmd/kubectl-mtls/verify/diagnose"
	"example.io/mtls-injector/cmd/kubectl-mtls/verify/probe"
)

// Options of the command: first the flags, then what Complete makes of them.
type Options struct {
	*kube.Flags

	Issue          bool
	ServiceAccount string
	CertFile       string
	KeyFile        string
	StartTLS       string
	Timeout        time.Duration
	Output         string

	genericiooptions.IOStreams

	target, port string
	cluster      *kube.Cluster
	now          func() time.Time
	// kindOf knows the kinds that people write in front of a name, and dial opens the way to
	// the port.
	kindOf func(string) (schema.GroupVersionKind, error)
	dial   func(pod *corev1.Pod, port int) (dialer, error)
}

// dialer is a way to a port that can be closed.
type dialer interface {
	probe.Dialer
	Close() error
}

const long = `Connect to a port of a pod, through a port-forward, and find out what is wrong with its mutual TLS: whether TLS is
spoken and in which versions; whether a client certificate is demanded, and clients without one and with one of a
foreign CA are refused; and whether the certificate that is served is the pod's: its chain against the CA bundle that
the pod itself mounts, its names against those that the webhook would give it, its usages, key and expiry, and whether
it is the one that was issued last, or the program has not loaded the renewed one.

Each finding is ok, a warning or a failure, with what was seen, why it matters and what to do; for nginx, Go and Envoy
with the line that is likely to be wrong.

POD is the name of a pod, or KIND/NAME of what has pods, of which the newest ready one is taken. PORT is a number or the
name of a container's port. Without it, the port is that to which Services lead, that a container names https, or that is
probed, in this order.

Whether a client of the pod's own CA is let in is checked with --issue: a CertificateRequest with a fresh key, for the
pod's issuer, valid for an hour and deleted at once. The key is never written anywhere. --client-cert-file and
--client-key-file show a certificate of your own in its place.

To the server, the checks are a dozen connections, some with a request for "/". Through a port-forward they come from
localhost: network policies have no part in it.

It works with your own rights: get pods and create pods/portforward are needed, and for all else the standard error tells
which rule is missing for what.

The exit code is 1 if there is a failure, or the port cannot be looked at, and otherwise 0.`

const examples = `  # The port of a pod that Services lead to
  kubectl mtls verify orders-5b6f7c9d8-x2x4q

  # A pod of a Deployment, another port, and a client certificate issued for the check
  kubectl mtls verify deployment/orders 8443 --issue

  # As the client that has trouble, with its own files
  kubectl mtls verify -n shop service/orders --client-cert-file tls.crt --client-key-file tls.key

  # PostgreSQL, which begins TLS after a question
  kubectl mtls verify statefulset/db 5432 --starttls postgres --issue

  # The faults alone, for a script
  kubectl mtls verify orders-5b6f7c9d8-x2x4q -o json | jq -r '.findings[] | select(.fault) | .fault'`

const defaultTimeout = 5 * time.Second

// NewCommand returns the command.
func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	o := &Options{Flags: kube.NewFlags(), IOStreams: streams, Timeout: defaultTimeout, now: time.Now}
	o.kindOf, o.dial = o.kindOfCluster, o.forward
	cmd := &cobra.Command{
		Use:               "verify POD|KIND/NAME [PORT]",
		Short:             "Connect to a pod and find out what is wrong with its mutual TLS",
		Long:              long,
		Example:           examples,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: o.complete,
		RunE:              steps.OnCluster(o),
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.Issue, "issue", false, "have a client certificate issued by the pod's issuer for the check, and delete it afterwards")
	flags.StringVar(&o.ServiceAccount, "service-account", "", "with --issue: service account of the namespace whose SPIFFE ID the certificate has; without it, the pod's own")
	flags.StringVar(&o.CertFile, "client-cert-file", "", "client certificate (PEM) to show, in place of --issue")
	flags.StringVar(&o.KeyFile, "client-key-file", "", "private key (PEM) of that certificate")
	flags.StringVar(&o.StartTLS, "starttls", "", "protocol that begins TLS after a question: "+strings.Join(probe.StartTLSProtocols(), ", "))
	flags.DurationVar(&o.Timeout, "timeout", o.Timeout, "how long each connection may take")
	flags.StringVarP(&o.Output, "output", "o", "", "output format: json or yaml; without it, text")
	o.AddFlags(flags)
	kube.CompleteFlags(cmd, o.Flags, kube.OutputJSON, kube.OutputYAML)
	_ = cmd.RegisterFlagCompletionFunc("starttls", cobra.FixedCompletions(probe.StartTLSProtocols(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagFilename("client-cert-file", "crt", "pem")
	_ = cmd.MarkFlagFilename("client-key-file", "key", "pem")
	return cmd
}

// Complete connects.
func (o *Options) Complete(args []string) (err error) {
	o.target = args[0]
	if len(args) > 1 {
		o.port = args[1]
	}
	o.cluster, err = o.Connect()
	return err
}

// Validate checks the flags.
func (o *Options) Validate() error {
	errs := []error{kube.CheckOutput(o.Output, kube.OutputJSON, kube.OutputYAML)}
	if o.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("--timeout %s: must be more than nothing", o.Timeout))
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		errs = append(errs, errors.New("--client-cert-file and --client-key-file go together"))
	}
	if o.Issue && o.CertFile != "" {
		errs = append(errs, errors.New("--issue does not go with --client-cert-file: only one certificate is shown"))
	}
	if o.ServiceAccount != "" && !o.Issue {
		errs = append(errs, errors.New("--service-account goes with --issue"))
	}
	if o.StartTLS != "" && !slices.Contains(probe.StartTLSProtocols(), o.StartTLS) {
		errs = append(errs, fmt.Errorf("--starttls %q: must be %s", o.StartTLS, strings.Join(probe.StartTLSProtocols(), ", ")))
	}
	return errors.Join(errs...)
}

// Run looks at the port and tells what it found.
func (o *Options) Run(ctx context.Context) error {
	report, err := o.look(ctx)
	if err != nil {
		return errors.Join(err, o.cluster.Gaps.Print(o.ErrOut))
	}
	if o.Output != kube.OutputText {
		if err := kube.Print(o.Out, o.Output, report); err != nil {
			return err
		}
	} else if err := errors.Join(report.print(o.Out), o.cluster.Gaps.Print(o.ErrOut)); err != nil {
		return err
	}
	if report.Failed() {
		return &steps.ExitError{Code: 1}
	}
	return nil
}

// look does it all, and leaves nothing behind.
func (o *Options) look(ctx context.Context) (*Report, error) {
	pod, err := o.findPod(ctx)
	if err != nil {
		return nil, err
	}
	f, err := o.learn(ctx, pod)
	if err != nil {
		return nil, err
	}
	port, err := choosePort(pod, f.services, o.port)
	if err != nil {
		return nil, err
	}
	config := probe.Config{Names: f.Names, Timeout: o.Timeout, StartTLS: o.StartTLS}
	if config.Own, err = o.ownCertificate(ctx, f); err != nil {
		return nil, err
	}
	if config.Foreign, err = probe.Foreign(f.SPIFFEID, f.bundleName(), o.now()); err != nil {
		return nil, err
	}
	way, err := o.dial(pod, port.Number)
	if err != nil {
		return nil, o.mayNot(err, pod)
	}
	defer way.Close()
	seen, err := probe.Run(ctx, way, config)
	if err != nil {
		return nil, err
	}
	f.Now = o.now()
	report := f.report(pod, port)
	report.Report = diagnose.Judge(&f.Facts, seen)
	report.Unknown = o.cluster.Gaps.List()
	return report, nil
}

// ownCertificate is what is shown as a client's of the pod's own CA; nil if nothing is.
func (o *Options) ownCertificate(ctx context.Context, f *facts) (*tls.Certificate, error) {
	switch {
	case o.CertFile != "":
		certificate, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		f.OwnSource = "that of " + o.CertFile
		return &certificate, nil
	case o.Issue:
		return o.issue(ctx, f)
	}
	f.NoOwn = "whether a client of its own CA is let in: --issue has a certificate issued for that, --client-cert-file shows yours"
	return nil, nil
}

// forward opens a port-forward.
func (o *Options) forward(pod *corev1.Pod, port int) (dialer, error) {
	clients, err := kubernetes.NewForConfig(o.cluster.Config)
	if err != nil {
		return nil, fmt.Errorf("port-forward: %w", err)
	}
	url := clients.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("portforward").URL()
	return probe.NewForward(o.cluster.Config, url, port)
}

// mayNot explains an error of the port-forward.
func (o *Options) mayNot(err error, pod *corev1.Pod) error {
	if !probe.IsForbidden(err) {
		return err
	}
	o.cluster.Gaps.Add(kube.Gap{
		Verb: "create", Resource: "pods/portforward", Namespace: pod.Namespace, For: "anything about the port: it is reached by a port-forward",
	})
	return errors.New("you may not forward a port of the pod")
}
