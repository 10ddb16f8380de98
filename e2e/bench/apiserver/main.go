// Command apiserver measures what a user feels: how long the creation of a pod takes on a
// real API server with no webhook, with one written the usual way, with the injector over
// TLS, and with a static MutatingAdmissionPolicy that adds the same volumes, mounts and
// variables inside the API server.
//
// The same pod is created by server-side dry run, each way in turn, so that whatever else
// the machine does falls on all alike. The last lines hold a target each.
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

	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"example.io/mtls-injector/e2e/cluster"
)

// target is how much more than the policy the injector may add at the median.
const target = 1.25

// warmUp is how many pods are created each way before it counts: connections are made,
// CEL is compiled, caches are filled.
const warmUp = 50

func main() {
	rounds := flag.Int("rounds", 600, "pods to create each way")
	logs := flag.String("logs", "", "folder to keep the programs' logs in")
	binary := flag.String("injector", "", "path of an mtls-injector to measure instead of the working tree's")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, options{*rounds, *logs, *binary}); err != nil {
		fmt.Fprintln(os.Stderr, "bench/apiserver:", err)
		os.Exit(1)
	}
}

type options struct {
	rounds       int
	logs, binary string
}

func run(ctx context.Context, out io.Writer, opts options) (err error) {
	ctrllog.SetLogger(zap.New(zap.WriteTo(io.Discard)))
	progress := func(line string) { fmt.Fprintln(os.Stderr, line) }
	c, err := cluster.Start(ctx, cluster.Options{Progress: progress, LogDir: opts.logs})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()

	ways, err := prepare(ctx, c, opts.binary)
	if err != nil {
		return err
	}
	progress(fmt.Sprintf("creating %d pods each way", opts.rounds))
	if err := measure(ctx, ways, warmUp); err != nil {
		return err
	}
	for _, w := range ways {
		w.took = w.took[:0]
	}
	if err := measure(ctx, ways, opts.rounds); err != nil {
		return err
	}
	report(out, ways)
	return nil
}
