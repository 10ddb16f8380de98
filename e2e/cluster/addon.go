package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// addon is a program of cert-manager's that runs on this machine with what its chart installs.
type addon struct {
	// name is the service account's, in cert-manager's namespace.
	name, program string
	// crds are files, manifest is what else the chart makes.
	crds     []string
	manifest []byte
	// list is the kind by which the API is found to be there.
	list schema.GroupVersionKind
	// args are the program's flags. Its readiness is served on the first port, at /readyz.
	args func(readiness, webhook string) []string
}

// runAddon installs the add-on, starts it with its own rights, and waits until it is ready. It
// returns the port of its webhook. The program runs until the cluster's Stop.
func (c *Cluster) runAddon(ctx context.Context, a *addon) (string, error) {
	c.progress("starting " + a.name)
	if err := c.installAddon(ctx, a); err != nil {
		return "", err
	}
	// The groups of a service account are not needed: its rights are bound to itself.
	kubeconfig, err := c.KubeconfigForUser(serviceAccountUser + csiDriverNamespace + ":" + a.name)
	if err != nil {
		return "", err
	}
	// Another program can take a port in the meantime.
	for range webhookStarts {
		var ports []string
		if ports, err = freePorts(ctx, 2); err != nil {
			return "", err
		}
		if err = c.startAddon(ctx, a, kubeconfig, ports); !errors.Is(err, errEnded) {
			return ports[1], err
		}
	}
	return "", err
}

func (c *Cluster) startAddon(ctx context.Context, a *addon, kubeconfig string, ports []string) error {
	p, err := c.startProcess(a.name, a.program, append([]string{"--kubeconfig=" + kubeconfig}, a.args(ports[0], ports[1])...)...)
	if err != nil {
		return err
	}
	if err := p.ready(ctx, func(ctx context.Context) error { return get(ctx, "http://127.0.0.1:"+ports[0]+"/readyz") }); err != nil {
		return errors.Join(err, p.stop())
	}
	c.onStop(p.stop)
	return nil
}

// installAddon makes what the chart makes, and waits for the API.
func (c *Cluster) installAddon(ctx context.Context, a *addon) error {
	for _, file := range a.crds {
		manifest, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading the CRDs of %s: %w", a.name, err)
		}
		if _, err := c.Apply(ctx, manifest, ""); err != nil {
			return err
		}
	}
	if _, err := c.Apply(ctx, a.manifest, ""); err != nil {
		return err
	}
	return poll(ctx, "the API of "+a.name, func(ctx context.Context) error {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(a.list)
		return c.Client.List(ctx, list)
	})
}
