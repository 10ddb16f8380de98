package binaries

import (
	"context"
	"path/filepath"
)

// PrometheusOperatorCRDs returns the folder with the CRDs of the Prometheus Operator, such as
// ServiceMonitor's.
func PrometheusOperatorCRDs(ctx context.Context) (string, error) {
	b, err := newBuilder(ctx, nil)
	if err != nil {
		return "", err
	}
	_, dir, err := b.moduleFiles(ctx, filepath.Join(b.module, "tools", "prometheusoperator"), "github.com/prometheus-operator/prometheus-operator")
	return filepath.Join(dir, "example", "prometheus-operator-crd"), err
}
