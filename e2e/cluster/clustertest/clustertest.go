// Package clustertest gives tests a cluster. It is apart from package cluster so
// that programs which are no tests need not import testing.
package clustertest

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"example.io/mtls-injector/e2e/cluster"
)

// New starts a cluster that ends with the test. Starting one takes some seconds:
// tests of one package had better share one, from TestMain.
func New(tb testing.TB, opts cluster.Options) *cluster.Cluster {
	tb.Helper()
	if opts.Progress == nil {
		opts.Progress = func(line string) { tb.Log(line) }
	}
	c, err := cluster.Start(tb.Context(), opts)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, c.Stop()) })
	return c
}

// Namespace makes a namespace of the test's own, opted in to injection, and returns
// its name. Nothing deletes it: it goes with the cluster.
func Namespace(tb testing.TB, c *cluster.Cluster, annotations map[string]string) string {
	tb.Helper()
	labels := map[string]string{cluster.EnabledLabel: "true"}
	ns, err := c.CreateNamespace(tb.Context(), "test-", labels, annotations)
	require.NoError(tb, err)
	return ns.Name
}

// Apply applies a file of manifests, in the given namespace where they name none, and
// returns the objects.
func Apply(tb testing.TB, c *cluster.Cluster, file, namespace string) []*unstructured.Unstructured {
	tb.Helper()
	manifests, err := os.ReadFile(file)
	require.NoError(tb, err)
	objects, err := c.Apply(tb.Context(), manifests, namespace)
	require.NoError(tb, err)
	return objects
}

// Stderr is a progress function for TestMain, where there is no test to log to.
func Stderr(line string) { _, _ = os.Stderr.WriteString(line + "\n") }
