//go:build node

// Package nodetest tests the product where pods run: on a real node. Package realnode says
// how to run one test, and where its logs are.
package nodetest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/realnode"
)

// node is the one node of all tests here, which theNode gives them.
var node *realnode.Node

func TestMain(m *testing.M) {
	os.Exit(realnode.Main(clustertest.Stderr, nil, func() int { return run(m) }))
}

func run(m *testing.M) (code int) {
	start := time.Now()
	if err := startNode(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	clustertest.Stderr(fmt.Sprintf("the node is up, with the chart installed, after %s", time.Since(start).Round(time.Second)))
	defer func() {
		if err := node.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	code = m.Run()
	if os.Getenv("KEEP") != "" {
		node.Keep(context.Background())
	}
	return code
}

// allowedIssuers are those that tests bring: of certificates that live a minute, or with a
// wrong clock, and the namespace's own.
const allowedIssuers = `[
	{"namespaceSelector": {}, "name": "*", "kind": "ShortIssuer", "group": "short.example.io"},
	{"namespaceSelector": {}, "name": "own", "kind": "Issuer"}
]`

// startNode starts the node and installs the chart as the README does.
func startNode(ctx context.Context) error {
	var err error
	node, err = realnode.Start(ctx, realnode.Options{Progress: clustertest.Stderr, LogDir: os.Getenv("E2E_LOG_DIR")})
	if err != nil {
		return err
	}
	tools, err := realnode.PackProgram(ctx, toolsImage, "./nodetest/tools")
	if err != nil {
		return err
	}
	if err := node.Import(ctx, tools); err != nil {
		return err
	}
	return node.InstallChart(ctx, "--set-json", "config.allowedIssuers="+allowedIssuers)
}
