package app

// How the commands reach the API server.

import (
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// restConfigOf reads a kubeconfig, or takes the pod's service account where none is named.
func restConfigOf(kubeconfig string) (*rest.Config, error) {
	load := rest.InClusterConfig
	if kubeconfig != "" {
		load = func() (*rest.Config, error) { return clientcmd.BuildConfigFromFlags("", kubeconfig) }
	}
	c, err := load()
	if err != nil {
		return nil, err
	}
	c.UserAgent = rest.DefaultKubernetesUserAgent()
	c.QPS = -1 // the API server's priority and fairness limits better than a client can
	return c, nil
}
