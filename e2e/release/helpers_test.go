package release_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// leaf returns the first certificate of a chain in PEM, as DER.
func leaf(t *testing.T, chain []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(chain)
	require.NotNil(t, block)
	return block.Bytes
}

// servedBy returns the certificate that a server shows, as DER, whoever signed it.
func servedBy(ctx context.Context, address string) ([]byte, error) {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw, nil
}

// awaitInjected waits until pods of the namespace are injected.
func awaitInjected(t *testing.T, namespace string) {
	t.Helper()
	require.NoError(t, stage.WaitFor(t.Context(), "pods to be injected", func(ctx context.Context) error {
		pod := server(namespace)
		if err := stage.Client.Create(ctx, pod, client.DryRunAll); err != nil {
			return err
		}
		if !isInjected(pod) {
			return errors.New("a pod came out as it was")
		}
		return nil
	}))
}
