// Command peer stands in for the images of the examples; the demo runs it.
//
//	peer serve [FLAG…]       serves until its standard input ends; in a container, until SIGTERM
//	peer call [FLAG…] [URL]  calls once and prints what it came to
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"example.io/mtls-injector/e2e/demo/peer"
)

var errUsage = errors.New("usage: peer serve [FLAG…] | peer call [FLAG…] URL")

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	flags := flag.NewFlagSet("peer "+args[0], flag.ContinueOnError)
	switch args[0] {
	case "serve":
		server := peer.RegisterServe(flags, os.Getenv)
		untilSignal := flags.Bool("until-signal", false, "serve until SIGTERM or an interrupt, whatever becomes of the standard input")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		if *untilSignal {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
			defer stop()
			return server.Run(ctx, os.Stdout, os.Stderr)
		}
		return server.Run(untilEOF(os.Stdin), os.Stdout, os.Stderr)
	case "call":
		client := peer.RegisterCall(flags, os.Getenv)
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return call(client, flags.Args())
	default:
		return errUsage
	}
}

// call prints the outcome, be it good or bad.
func call(client *peer.Client, args []string) error {
	if len(args) != 1 {
		return errUsage
	}
	client.URL = args[0]
	return json.NewEncoder(os.Stdout).Encode(client.Call(context.Background()))
}

// untilEOF ends the context when whoever started the program closes its standard
// input, or is gone.
func untilEOF(in io.Reader) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, in)
	}()
	return ctx
}
