// Command scale measures the controller of companion Certificates in a cluster of some
// size: a thousand Deployments of ten pods each and two thousand Services, on a real API
// server, with kube-controller-manager making the pods and cert-manager signing. The pods
// have no node and stay Pending, which is all the same to the controller.
//
// It measures how long it takes until every companion exists and is Ready, what the
// injector asks of the API server meanwhile, at rest and after a restart (from the API
// server's audit log), and what its process takes (from /proc, so on Linux only). The last
// lines hold a target each.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"example.io/mtls-injector/e2e/cluster"
)

//go:embed audit-policy.yaml
var auditPolicy []byte

func main() {
	var opts options
	flag.IntVar(&opts.workloads, "workloads", 1000, "Deployments to create")
	flag.IntVar(&opts.pods, "pods", 10, "pods of each")
	flag.IntVar(&opts.services, "services", 2000, "Services to create: one for each workload, and the rest selects nothing")
	flag.IntVar(&opts.namespaces, "namespaces", 20, "namespaces to spread them over")
	flag.DurationVar(&opts.restTime, "rest", time.Minute, "how long to watch the controller at rest")
	flag.StringVar(&opts.logs, "logs", "", "folder to keep the programs' logs in")
	flag.StringVar(&opts.binary, "injector", "", "path of an mtls-injector to measure instead of the working tree's")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, &opts); err != nil {
		fmt.Fprintln(os.Stderr, "bench/scale:", err)
		os.Exit(1)
	}
}

type options struct {
	workloads, pods, services, namespaces int

	restTime     time.Duration
	logs, binary string
}

func (o *options) validate() error {
	if min(o.workloads, o.pods, o.namespaces) < 1 || o.services < 0 || o.restTime <= 0 {
		return errors.New("there must be workloads, pods, namespaces and time to rest")
	}
	return nil
}

func (o *options) allPods() int { return o.workloads * o.pods }

func run(ctx context.Context, out io.Writer, opts *options) (err error) {
	if err := opts.validate(); err != nil {
		return err
	}
	progress := func(line string) { fmt.Fprintln(os.Stderr, line) }
	c, err := cluster.Start(ctx, cluster.Options{
		Progress: progress, LogDir: opts.logs, AuditPolicy: auditPolicy,
		ExtraAPIServerArgs: map[string][]string{
			"service-cluster-ip-range": {"10.0.0.0/16"}, // envtest's /24 is too small
			"audit-log-maxsize":        {"10000"},       // MB; one file, never rotated
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()

	b := &bench{options: opts, cluster: c, progress: progress, audit: &auditLog{path: c.AuditLog}}
	r, err := b.measure(ctx)
	if err != nil {
		return err
	}
	return r.print(out)
}
