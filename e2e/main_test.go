package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
)

// shared is the one cluster of all tests here. Tests keep to namespaces of their own.
var shared *cluster.Cluster

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	var err error
	opts := cluster.Options{Progress: clustertest.Stderr, LogDir: os.Getenv("E2E_LOG_DIR")}
	if shared, err = cluster.Start(context.Background(), opts); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := shared.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	return m.Run()
}
