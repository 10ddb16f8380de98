// Command tools is what pods of tests run that need no software of others.
//
//	tools [serve]        answers every request on port 8080 with 200
//	tools resolve NAME   prints the addresses of a name
//	tools get URL        prints the status of an answer
//	tools cat FILE…      prints files
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tools:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) error {
	if len(args) == 0 {
		args = []string{"serve"}
	}
	switch command := args[0]; {
	case command == "serve":
		return serve(ctx)
	case command == "resolve" && len(args) == 2:
		return resolve(ctx, out, args[1])
	case command == "get" && len(args) == 2:
		return get(ctx, out, args[1])
	case command == "cat":
		return cat(out, args[1:])
	default:
		return fmt.Errorf("unknown command: %q", args)
	}
}

func serve(ctx context.Context) error {
	server := &http.Server{
		Addr: ":8080", ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return server.Shutdown(context.WithoutCancel(ctx))
	}
}

func resolve(ctx context.Context, out io.Writer, name string) error {
	addresses, err := (&net.Resolver{PreferGo: true}).LookupIP(ctx, "ip4", name)
	if err != nil {
		return err
	}
	for _, address := range addresses {
		if _, err := fmt.Fprintln(out, address); err != nil {
			return err
		}
	}
	return nil
}

func get(ctx context.Context, out io.Writer, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil) //nolint:gosec // the test says where
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req) //nolint:gosec // as above
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = fmt.Fprintln(out, resp.Status)
	return err
}

func cat(out io.Writer, files []string) error {
	for _, file := range files {
		data, err := os.ReadFile(file) //nolint:gosec // the test says which
		if err != nil {
			return err
		}
		if _, err := out.Write(data); err != nil {
			return err
		}
	}
	return nil
}
