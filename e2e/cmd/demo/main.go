// Command demo shows the injector at work on a real control plane; see package demo.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/demo"
)

const usage = `usage: demo [--keep]

Starts a real Kubernetes control plane with cert-manager on this machine, serves the
injector's webhook to it, applies the manifests of examples/, and shows what becomes of
them, down to mutual TLS between processes. It needs Go and nothing else, and leaves
nothing behind. The first run builds Kubernetes, which takes some ten minutes.

  --keep   leave it running, and tell how to use it; Ctrl-C ends it
`

// errEnded is what the demo says when the user has ended it before it was done.
var errEnded = errors.New("ended by a signal")

func main() {
	keep, err := parse(os.Args[1:])
	if err != nil {
		os.Exit(2) // flag has told why
	}
	if err := run(keep); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

func parse(args []string) (bool, error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(flags.Output(), usage) }
	keep := flags.Bool("keep", false, "leave it running")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
		fmt.Fprintln(flags.Output(), err)
		flags.Usage()
	}
	return *keep, err
}

// run runs the demo until it is done, or until a signal, and cleans up.
func run(keep bool) error {
	// Libraries have nothing to say to who watches the demo.
	log.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, end := context.WithCancel(ctx)
	defer end()
	go endWithGoRun(end)
	// Whoever is impatient with the clean-up can end the program by a second signal.
	defer context.AfterFunc(ctx, stop)()

	d := demo.New(os.Stdout)
	d.Introduce()
	c, err := cluster.Start(ctx, d.ClusterOptions())
	if err == nil {
		err = errors.Join(show(ctx, d, c, keep), d.Stop(), c.Stop())
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errEnded, err)
	}
	return err
}

// show tells the story, and waits for the signal if it is to be kept.
func show(ctx context.Context, d *demo.Demo, c *cluster.Cluster, keep bool) error {
	if err := d.Run(ctx, c); err != nil || !keep {
		return err
	}
	d.Invite()
	<-ctx.Done()
	return nil
}

// endWithGoRun ends the demo when "go run" is gone: it passes on Ctrl-C, but dies of
// SIGTERM alone and would leave everything running.
func endWithGoRun(end func()) {
	program, err := os.Executable()
	if err != nil || !strings.Contains(filepath.ToSlash(program), "/go-build") {
		return
	}
	for parent := os.Getppid(); os.Getppid() == parent; {
		time.Sleep(200 * time.Millisecond)
	}
	end()
}
