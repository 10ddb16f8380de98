// Package demo shows the injector at work on a real control plane: it applies the
// manifests of examples/, tells what became of their pods and certificates, and lets
// them talk mutual TLS. What is promised and does not hold is an error.
//
// Read demo.go for the order of things, promises.go for what is promised, setup.go and
// bundle.go for what the demo does in a user's place, pods.go, report.go and
// certificates.go for the tables, calls.go and process.go for the handshakes.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/csidriver"
	"example.io/mtls-injector/e2e/internal/binaries"
	"example.io/mtls-injector/e2e/node"
)

// Demo is one run of the demo.
type Demo struct {
	out     *printer
	cluster *cluster.Cluster
	webhook *cluster.Webhook
	node    *node.Node

	dir      string // for all files; goes with the cluster
	examples string // the folder of the manifests
	peer     string // the program that stands in for the examples' images

	refusal    string // what a user is told about the pod that is refused
	pods       []*pod
	companions []companion
	servers    []*server
	calls      int
}

// New returns a demo that tells its story to out.
func New(out io.Writer) *Demo { return &Demo{out: newPrinter(out)} }

// ClusterOptions are those of the cluster that Run needs.
func (d *Demo) ClusterOptions() cluster.Options {
	return cluster.Options{
		Progress:    func(line string) { d.out.step("%s", line) },
		AuditPolicy: []byte(auditPolicy),
	}
}

// Introduce prints what is going to happen.
func (d *Demo) Introduce() {
	d.out.note(0, "mtls-injector: a real API server, the real webhook, the manifests of examples/.")
	d.out.heading("1. A cluster on this machine")
}

// Run tells the story. The cluster must be fresh and have been started with
// ClusterOptions. The servers of the last chapter run until Stop.
func (d *Demo) Run(ctx context.Context, c *cluster.Cluster) error {
	d.cluster = c
	for _, part := range []struct {
		heading string
		run     func(context.Context) error
	}{
		{"", d.prepare},
		{"", d.startWebhook},
		{"2. The examples are applied", d.apply},
		{"", d.awaitPods},
		{"", d.awaitCompanions},
		{"", d.mount},
		{"3. What was injected", d.reportPods},
		{"4. The certificates", d.reportCertificates},
		{"5. The handshakes", d.startServers},
		{"", d.goodCalls},
		{"", d.badCalls},
	} {
		if part.heading != "" {
			d.out.heading(part.heading)
		}
		if err := part.run(ctx); err != nil {
			return d.withLog(ctx, err)
		}
	}
	d.out.line("")
	d.out.step("All of it is as promised: %d pods, %d handshakes.", len(d.pods), d.calls)
	return nil
}

// Stop ends what Run started, except for the cluster.
func (d *Demo) Stop() error {
	var errs []error
	for _, s := range d.servers {
		errs = append(errs, s.stop())
	}
	for _, p := range d.pods {
		errs = append(errs, d.node.Unmount(&p.Pod))
	}
	d.servers, d.pods = nil, nil
	return errors.Join(errs...)
}

// Invite prints how to go on with the running cluster.
func (d *Demo) Invite() {
	d.out.heading("It keeps running; Ctrl-C ends it")
	d.out.line("  export KUBECONFIG=" + d.cluster.Kubeconfig)
	d.out.line("  alias kubectl=" + d.cluster.Kubectl)
	d.out.line("")
	d.out.line("  kubectl get pods -A -L mtls.example.io/injected")
	d.out.line("  kubectl -n shop get pod -l app=orders -o yaml")
	d.out.line("  kubectl get certificates -A -l cert-type=mtls")
	d.out.line("  kubectl -n shop run mine --image=busybox --annotations=mtls.example.io/role=sever")
	d.out.line("")
	d.out.note(2, "Pods stay Pending, for there is no kubelet here. The configuration is "+
		filepath.Join(d.examples, "config.yaml")+", the webhook logs to "+d.webhook.LogFile+".")
}

// prepare makes what the demo itself needs.
func (d *Demo) prepare(ctx context.Context) error {
	module, err := binaries.ModuleDir(ctx, "example.io/mtls-injector/e2e")
	if err != nil {
		return err
	}
	d.examples = filepath.Join(filepath.Dir(module), "examples")
	// The folder of the cluster is removed with it, however this program ends.
	if d.dir, err = os.MkdirTemp(filepath.Dir(d.cluster.Kubeconfig), "demo-"); err != nil {
		return fmt.Errorf("making the demo's folder: %w", err)
	}
	if err := d.makeNode(); err != nil {
		return err
	}
	d.out.step("building the injector from this working tree, and the demo's own server and client")
	d.peer = filepath.Join(d.dir, "peer")
	build := exec.CommandContext(ctx, "go", "build", "-o", d.peer, "./cmd/peer") //nolint:gosec // a path of our own
	build.Dir = module
	build.Env = append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the demo's server and client: %w\n%s", err, out)
	}
	return nil
}

// makeNode makes what stands in for a node.
func (d *Demo) makeNode() error {
	config, err := d.cluster.CSIDriverConfig()
	if err != nil {
		return err
	}
	driver, err := client.New(rest.CopyConfig(config), client.Options{Scheme: d.cluster.Scheme})
	if err != nil {
		return fmt.Errorf("making the CSI driver's client: %w", err)
	}
	d.node = &node.Node{
		Client: d.cluster.Client,
		Driver: csidriver.New(csidriver.Options{Client: driver, Root: filepath.Join(d.dir, "volumes"), Node: cluster.NodeName}),
		Root:   filepath.Join(d.dir, "pods"),
	}
	return nil
}

func (d *Demo) startWebhook(ctx context.Context) error {
	var err error
	d.webhook, err = d.cluster.RunWebhook(ctx, cluster.WebhookOptions{
		Config: filepath.Join(d.examples, "config.yaml"),
		Args:   []string{"--drain-delay=0s"}, // when it goes, so does the API server
	})
	if err != nil {
		return err
	}
	d.out.step("the webhook answers for pods of namespaces with the label %s=true", cluster.EnabledLabel)
	return nil
}

// withLog adds the end of the webhook's log to an error that it may explain, unless the
// user has ended the demo himself.
func (d *Demo) withLog(ctx context.Context, err error) error {
	if d.webhook == nil || len(d.servers) > 0 || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w\n\nend of the webhook's log:\n%s", err, tail(d.webhook.LogFile))
}
