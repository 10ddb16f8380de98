//go:build node

package nodetest

import (
	"context"
	"fmt"
	"os"
	"testing"

	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/realnode"
)

// node is the one node of all tests here.
var node *realnode.Node

func TestMain(m *testing.M) {
	os.Exit(realnode.Main(clustertest.Stderr, nil, func() int { return run(m) }))
}

func run(m *testing.M) (code int) {
	var err error
	node, err = realnode.Start(context.Background(), realnode.Options{Progress: clustertest.Stderr, LogDir: os.Getenv("E2E_LOG_DIR")})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := node.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	return m.Run()
}
