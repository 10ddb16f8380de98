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
	os.Exit(realnode.Main(clustertest.Stderr, packSoftware, func() int { return run(m) }))
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

// chartArgs are those that the chart is installed with.
func chartArgs() []string {
	return append(softwareValues(), "--set-json", "config.allowedIssuers="+allowedIssuers)
}

// startNode starts the node and installs the chart as the README does.
func startNode(ctx context.Context) error {
	var err error
	node, err = realnode.Start(ctx, realnode.Options{Progress: clustertest.Stderr, LogDir: os.Getenv("E2E_LOG_DIR")})
	if err != nil {
		return err
	}
	for image, program := range map[string]string{toolsImage: "./nodetest/tools", witnessImage: "./nodetest/witness"} {
		archive, err := realnode.PackProgram(ctx, image, program)
		if err != nil {
			return err
		}
		if err := node.Import(ctx, archive); err != nil {
			return err
		}
	}
	if err := node.InstallChart(ctx, chartArgs()...); err != nil {
		return err
	}
	if err := node.WaitForIssuer(ctx, "", "mtls-ca"); err != nil {
		return err
	}
	if _, err := node.Apply(ctx, []byte(internalIssuer), ""); err != nil {
		return err
	}
	return node.WaitForIssuer(ctx, "", "internal")
}

// internalIssuer signs with the CA of the chart's issuer, so that the bundle trusts it, too.
const internalIssuer = `
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: internal}
spec: {ca: {secretName: mtls-ca-a}}
`
