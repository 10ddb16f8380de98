package realnode

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	certutil "k8s.io/client-go/util/cert"

	"k8s.io/client-go/util/keyutil"

	"example.io/mtls-injector/e2e/cluster"
)

// kubeletFiles are what the kubelet and the API server know each other by.
type kubeletFiles struct {
	// ca signs the certificate by which the API server asks the kubelet for logs and exec.
	ca, clientCert, clientKey string
	config, kubeconfig        string
}

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %[1]s
healthzBindAddress: %[1]s
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %[2]q}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /%[3]s
clusterDNS: [%[1]s]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://%[4]s
resolvConf: %[5]q
volumePluginDir: %[6]q
failCgroupV1: false
failSwapOn: false
# The machine's disk is nothing to evict pods for.
evictionHard: {memory.available: "0%%", nodefs.available: "0%%", nodefs.inodesFree: "0%%", imagefs.available: "0%%", imagefs.inodesFree: "0%%"}
imageGCHighThresholdPercent: 100
# Tests wait for Events, for changed ConfigMaps, and for containers that are started again.
eventRecordQPS: 0
syncFrequency: 10s
crashLoopBackOff: {maxContainerRestartPeriod: 5s}
`

// makeKubeletFiles makes what the API server has to know before there is a kubelet.
func (n *Node) makeKubeletFiles() error {
	dir := filepath.Join(n.work, "pki")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making a folder for the kubelet: %w", err)
	}
	n.kubelet = kubeletFiles{
		ca: filepath.Join(dir, "ca.crt"), clientCert: filepath.Join(dir, "client.crt"), clientKey: filepath.Join(dir, "client.key"),
		config: filepath.Join(dir, "kubelet.yaml"),
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making the kubelet's CA: %w", err)
	}
	ca, err := certutil.NewSelfSignedCACert(certutil.Config{CommonName: "kubelet-clients"}, caKey)
	if err != nil {
		return fmt.Errorf("making the kubelet's CA: %w", err)
	}
	leaf, key, err := signClient(ca, caKey)
	if err != nil {
		return fmt.Errorf("making the kubelet's client: %w", err)
	}
	for path, certificate := range map[string]*x509.Certificate{n.kubelet.ca: ca, n.kubelet.clientCert: leaf} {
		data, err := certutil.EncodeCertificates(certificate)
		if err != nil {
			return fmt.Errorf("encoding %s: %w", path, err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return fmt.Errorf("writing a certificate: %w", err)
		}
	}
	return os.WriteFile(n.kubelet.clientKey, key, 0o600)
}

// signClient makes the API server's certificate as a client of the kubelet, and its key (PEM).
func signClient(ca *x509.Certificate, caKey crypto.Signer) (leaf *x509.Certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "kube-apiserver-kubelet-client", Organization: []string{"system:masters"}},
		NotBefore:    ca.NotBefore, NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, private.Public(), caKey)
	if err != nil {
		return nil, nil, err
	}
	if leaf, err = x509.ParseCertificate(der); err != nil {
		return nil, nil, err
	}
	key, err = keyutil.MarshalPrivateKeyToPEM(private)
	return leaf, key, err
}

// startKubelet configures and starts the kubelet.
func (n *Node) startKubelet(ctx context.Context, _ Options) error {
	n.progress("starting the kubelet")
	resolv := filepath.Join(n.work, "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver "+Address+"\n"), 0o600); err != nil {
		return fmt.Errorf("writing the node's resolv.conf: %w", err)
	}
	config := fmt.Appendf(nil, kubeletConfig, Address, n.kubelet.ca, n.group, containerdSocket, resolv, filepath.Join(KubeletRoot, "volumeplugins"))
	if err := os.WriteFile(n.kubelet.config, config, 0o600); err != nil {
		return fmt.Errorf("writing the kubelet's configuration: %w", err)
	}
	var err error
	if n.kubelet.kubeconfig, err = n.KubeconfigForUser("system:node:"+NodeName, "system:nodes"); err != nil {
		return err
	}
	n.onStop(n.StopKubelet)
	return n.StartKubelet(ctx)
}

// StartKubelet starts the kubelet again, after StopKubelet.
func (n *Node) StartKubelet(ctx context.Context) error {
	n.mu.Lock()
	n.kubeletSince = time.Now()
	n.mu.Unlock()
	healthy := func(ctx context.Context) error { return cluster.Get(ctx, "http://"+Address+":10248/healthz") }
	return n.start(ctx, "kubelet", n.programs.Kubelet, healthy,
		"--config="+n.kubelet.config, "--kubeconfig="+n.kubelet.kubeconfig,
		"--hostname-override="+NodeName, "--node-ip="+Address, "--v=2",
	)
}

// StopKubelet ends the kubelet. Containers go on.
func (n *Node) StopKubelet() error { return n.stop("kubelet") }
