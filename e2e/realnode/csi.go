package realnode

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	storagev1 "k8s.io/api/storage/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/csidriver"
	"example.io/mtls-injector/e2e/csiplugin"
)

// startCSI starts the CSI plugin in this process, with the rights of the driver's chart, and
// waits until the kubelet knows it.
func (n *Node) startCSI(ctx context.Context, _ Options) error {
	n.progress("starting the CSI plugin")
	if err := n.Client.Create(ctx, csiplugin.Object()); err != nil {
		return fmt.Errorf("creating the CSIDriver: %w", err)
	}
	config, err := n.CSIDriverConfig()
	if err != nil {
		return err
	}
	requests, err := client.New(config, client.Options{Scheme: n.Scheme})
	if err != nil {
		return fmt.Errorf("making the CSI plugin's client: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(n.LogDir, "csi-plugin.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("making the CSI plugin's log: %w", err)
	}
	n.onStop(log.Close)
	var mu sync.Mutex
	n.Plugin, err = csiplugin.New(csiplugin.Options{
		Client: requests, NodeName: NodeName, KubeletRoot: KubeletRoot, DataRoot: filepath.Join(n.work, "csi"),
		OnError: func(err error) {
			mu.Lock()
			defer mu.Unlock()
			_, _ = fmt.Fprintln(log, err)
		},
	})
	if err != nil {
		return err
	}
	n.onStop(func() error { n.Plugin.Stop(); return nil })
	if err := n.Plugin.Start(ctx); err != nil {
		return err
	}
	return n.AwaitCSI(ctx)
}

// AwaitCSI waits until the kubelet has registered the CSI plugin.
func (n *Node) AwaitCSI(ctx context.Context) error {
	return n.WaitFor(ctx, "the CSI plugin to be registered", func(ctx context.Context) error {
		var node storagev1.CSINode
		if err := n.Client.Get(ctx, client.ObjectKey{Name: NodeName}, &node); err != nil {
			return err
		}
		for _, driver := range node.Spec.Drivers {
			if driver.Name == csidriver.Name {
				return nil
			}
		}
		return fmt.Errorf("the CSINode has only %v", node.Spec.Drivers)
	})
}
