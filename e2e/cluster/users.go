package cluster

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// The accounts that this package makes, with the permissions in rbac.yaml.
const (
	injectorUser        = "mtls-injector"
	csiDriverNamespace  = "cert-manager"
	csiDriverAccount    = "cert-manager-csi-driver"
	certManagerAccount  = "cert-manager"
	controllerManager   = "system:kube-controller-manager"
	serviceAccountUser  = "system:serviceaccount:"
	serviceAccountGroup = "system:serviceaccounts"
)

// ConfigForUser returns a client configuration for a user that has only what RBAC
// grants to the name and groups.
func (c *Cluster) ConfigForUser(name string, groups ...string) (*rest.Config, error) {
	user, err := c.user(name, groups)
	if err != nil {
		return nil, err
	}
	return rest.CopyConfig(user.Config()), nil
}

// ConfigForServiceAccount returns a client configuration that the API server takes
// for the service account. Unlike its real token it needs no such account.
func (c *Cluster) ConfigForServiceAccount(namespace, name string) (*rest.Config, error) {
	return c.ConfigForUser(serviceAccountUser+namespace+":"+name, serviceAccountGroup, serviceAccountGroup+":"+namespace)
}

// CSIDriverConfig returns the client configuration of cert-manager's CSI driver:
// it may handle CertificateRequests and nothing else.
func (c *Cluster) CSIDriverConfig() (*rest.Config, error) {
	return c.ConfigForServiceAccount(csiDriverNamespace, csiDriverAccount)
}

// KubeconfigForUser is ConfigForUser as a file, which only this user of the
// machine can read and which Stop removes.
func (c *Cluster) KubeconfigForUser(name string, groups ...string) (string, error) {
	user, err := c.user(name, groups)
	if err != nil {
		return "", err
	}
	data, err := user.KubeConfig()
	if err != nil {
		return "", fmt.Errorf("making a kubeconfig for %s: %w", name, err)
	}
	file, err := os.CreateTemp(c.dir, filepath.Base(name)+"-*.kubeconfig") // mode 0600
	if err != nil {
		return "", fmt.Errorf("making a kubeconfig for %s: %w", name, err)
	}
	if _, err := file.Write(data); err != nil {
		_ = file.Close()
		return "", fmt.Errorf("writing the kubeconfig for %s: %w", name, err)
	}
	return file.Name(), file.Close()
}

func (c *Cluster) user(name string, groups []string) (*envtest.AuthenticatedUser, error) {
	// The API server protects itself; a limit in the client only slows tests.
	base := &rest.Config{QPS: -1}
	user, err := c.env.AddUser(envtest.User{Name: name, Groups: groups}, base)
	if err != nil {
		return nil, fmt.Errorf("making the user %s: %w", name, err)
	}
	return user, nil
}
