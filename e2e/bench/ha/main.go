// Command ha measures whether anybody who creates a pod feels it when something happens to
// the webhook. The chart is installed with Helm, with two replicas as processes of this
// machine behind their Service, and pods are created at a steady rate while replicas are
// stopped, crash and are rolled, the serving certificate and its CA are renewed, the
// configuration is changed, and the API server restarts. The last lines hold a target each.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/release"
)

// replicas is what the chart runs by default.
const replicas = 2

type options struct {
	rate, atOnce int
	duration     time.Duration
	dryRun       bool
	selfManaged  bool
	logs, binary string
}

func main() {
	var opts options
	flag.IntVar(&opts.rate, "rate", 200, "pods to create a second")
	flag.IntVar(&opts.atOnce, "at-once", 1000, "creations under way at most")
	flag.DurationVar(&opts.duration, "duration", 2*time.Minute, "how long to create pods, over which the events are spread")
	flag.BoolVar(&opts.dryRun, "dry-run", false, "create pods as dry runs, which are admitted and not stored")
	flag.BoolVar(&opts.selfManaged, "self-managed", false, "let the webhook manage its own certificate (webhook.certificate.mode=selfManaged)")
	flag.StringVar(&opts.logs, "logs", "", "folder to keep the programs' logs in")
	flag.StringVar(&opts.binary, "injector", "", "path of an mtls-injector to measure instead of the working tree's")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, &opts); err != nil {
		fmt.Fprintln(os.Stderr, "bench/ha:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, opts *options) (err error) {
	if opts.rate < 1 || opts.atOnce < 1 || opts.duration < 10*time.Second {
		return errors.New("there must be at least one pod a second and at once, for at least ten seconds")
	}
	progress := func(line string) { fmt.Fprintln(os.Stderr, line) }
	s, err := release.Start(ctx, release.Options{Progress: progress, LogDir: opts.logs, Binary: opts.binary})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	mode := "certManager"
	if opts.selfManaged {
		mode = "selfManaged"
	}
	progress("installing the chart")
	if _, err := s.Install(ctx, "--set", "webhook.certificate.mode="+mode); err != nil {
		return err
	}
	if err := makeNamespaces(ctx, s.Cluster); err != nil {
		return err
	}
	creator, err := newCreator(s)
	if err != nil {
		return err
	}
	l := &load{client: creator, rate: opts.rate, dryRun: opts.dryRun, atOnce: opts.atOnce}
	if err := awaitInjection(ctx, s); err != nil {
		return err
	}
	r := &result{options: opts, version: s.Version, tally: &l.tally}
	// What was measured until an event failed is told, too.
	return errors.Join(r.measure(ctx, s, l, progress), r.print(out))
}

// newCreator returns a client that asks for as little of this machine as one can, which has to
// run all the rest, too: in protobuf, as the controllers that create pods.
func newCreator(s *release.Stage) (client.Client, error) {
	config := rest.CopyConfig(s.Config)
	config.ContentType = runtime.ContentTypeProtobuf
	config.QPS = -1
	c, err := client.New(config, client.Options{Scheme: s.Scheme})
	if err != nil {
		return nil, fmt.Errorf("making the client that creates pods: %w", err)
	}
	return c, nil
}

// awaitInjection waits until the API server has learned of the webhook.
func awaitInjection(ctx context.Context, s *release.Stage) error {
	return s.WaitFor(ctx, "pods to be injected", func(ctx context.Context) error {
		pod := podNumber(0)
		if err := s.Client.Create(ctx, pod, client.DryRunAll); err != nil {
			return err
		}
		if !injected(pod) {
			return errors.New("a pod came out as it was")
		}
		return nil
	})
}

// measure creates pods while things happen.
func (r *result) measure(ctx context.Context, s *release.Stage, l *load, progress func(string)) error {
	loading, stop := context.WithTimeout(ctx, r.duration)
	defer stop()
	ended := make(chan struct{})
	r.began = time.Now()
	go func() {
		defer close(ended)
		l.run(loading)
		r.took = time.Since(r.began)
	}()
	e := &events{Stage: s, began: r.began, duration: r.duration, progress: progress, selfManaged: r.selfManaged}
	err := e.run(ctx)
	r.done = e.done
	if err != nil {
		stop()
	}
	<-ended
	l.underWay.Wait()
	return err
}
