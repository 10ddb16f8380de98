package cluster

import (
	"context"
	"fmt"

	"github.com/cert-manager/cert-manager/pkg/controller/cainjector"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// RunCAInjector runs cert-manager's real CA injector in this process, for webhook
// configurations, until the cluster's Stop.
func (c *Cluster) RunCAInjector(ctx context.Context) error {
	c.progress("starting cert-manager's CA injector")
	config, err := c.ConfigForUser(serviceAccountUser+csiDriverNamespace+":cert-manager-cainjector", "system:masters")
	if err != nil {
		return err
	}
	config.UserAgent = "cert-manager-cainjector"
	run, stop := context.WithCancel(logr.NewContext(context.WithoutCancel(ctx), c.log))
	again := true
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: c.Scheme,
		Logger: c.log,
		// As its own program does: of Secrets it keeps metadata only.
		Client:     client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		Cache:      cache.Options{},
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{SkipNameValidation: &again},
	})
	if err != nil {
		stop()
		return fmt.Errorf("making the CA injector: %w", err)
	}
	err = cainjector.RegisterAllInjectors(run, mgr, cainjector.SetupOptions{
		EnableCertificatesDataSource: true,
		EnabledReconcilersFor: map[string]bool{
			cainjector.MutatingWebhookConfigurationName:   true,
			cainjector.ValidatingWebhookConfigurationName: true,
		},
	})
	if err != nil {
		stop()
		return fmt.Errorf("setting up the CA injector: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(run) }()
	c.onStop(func() error {
		stop()
		if err := <-ended; err != nil {
			return fmt.Errorf("the CA injector: %w", err)
		}
		return nil
	})
	return nil
}
