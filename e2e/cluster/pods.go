package cluster

// How the API server serves pods and the kubelets of real nodes.

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

const (
	// ServiceAddress is the cluster IP of the Service "kubernetes", by which pods reach the
	// API server.
	ServiceAddress = "10.0.0.1"

	apiServerPort = "6443"
	// nodeControllers untaint nodes that become ready, and evict pods from those that do not.
	nodeControllers = ",node-lifecycle-controller,taint-eviction-controller"
)

// listenForPods has the API server listen on the address, with a certificate for all names
// that pods call it by. envtest makes no certificates where there are some.
func listenForPods(api *envtest.APIServer, address string) error {
	ips := []net.IP{net.ParseIP(address), net.ParseIP(ServiceAddress), net.IPv4(127, 0, 0, 1)}
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	chain, key, err := certutil.GenerateSelfSignedCertKey(address, ips, names)
	if err != nil {
		return fmt.Errorf("making the API server's certificate: %w", err)
	}
	certs, err := certutil.ParseCertsPEM(chain)
	if err != nil {
		return fmt.Errorf("reading the API server's certificate: %w", err)
	}
	ca, err := certutil.EncodeCertificates(certs[len(certs)-1])
	if err != nil {
		return fmt.Errorf("encoding the API server's CA: %w", err)
	}
	signer, signerKey, err := certutil.GenerateSelfSignedCertKey("service-accounts", nil, nil)
	if err != nil {
		return fmt.Errorf("making the key of service accounts: %w", err)
	}
	for name, data := range map[string][]byte{"apiserver.crt": chain, "apiserver.key": key, "sa-signer.crt": signer, "sa-signer.key": signerKey} {
		if err := os.WriteFile(filepath.Join(api.CertDir, name), data, 0o600); err != nil {
			return fmt.Errorf("writing the API server's %s: %w", name, err)
		}
	}
	api.CA = ca
	api.Address, api.Port = address, apiServerPort
	return nil
}
