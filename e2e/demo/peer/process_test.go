package peer_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/e2e/demo/peer"
)

// TestMain lets the test's own program be a server, as a child process.
func TestMain(m *testing.M) {
	if os.Getenv("BE_SERVER") != "" {
		if err := beServer(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func beServer(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	server := peer.RegisterServe(flags, os.Getenv)
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	return server.Run(ctx, os.Stdout, os.Stderr)
}

// variables are the container's, and what makes the test's program a server.
func (c *container) variables() []string {
	env := []string{"BE_SERVER=1"}
	for name, value := range c.env {
		env = append(env, name+"="+value)
	}
	return env
}

func TestProcessServesUntilItIsStopped(t *testing.T) {
	ca := newCA(t, "Our CA")
	server := newContainer(t, ca, "orders", both(), service)
	client := newContainer(t, ca, "reports", both())
	process, err := peer.Start(t.Context(), os.Args[0], server.root, server.variables(), []string{"--load-once"}, io.Discard)
	require.NoError(t, err)
	to := connectTo(service, process.Address())
	assert.Empty(t, client.call(t, to, "https://"+service+":8443/").Error)
	require.NoError(t, process.Stop())
	assert.Contains(t, client.call(t, to, "https://"+service+":8443/").Error, "connection refused")
}

func TestProcessThatDoesNotStart(t *testing.T) {
	var logs bytes.Buffer
	_, err := peer.Start(t.Context(), os.Args[0], t.TempDir(), []string{"BE_SERVER=1"}, nil, &logs)
	require.ErrorContains(t, err, "waiting for the server to listen: EOF")
	require.ErrorContains(t, err, "exit status 1")
	assert.Contains(t, logs.String(), "reading the key pair: ")
	_, err = peer.Start(t.Context(), "/none", t.TempDir(), nil, nil, io.Discard)
	require.ErrorContains(t, err, "starting a server: fork/exec /none: no such file or directory")
}
