package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/cert-manager/cert-manager/pkg/controller"

	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	"github.com/go-logr/logr"

	// Each registers a controller or a kind of issuer: those that work without a
	// network. What is left out signs elsewhere (ACME, Vault, Venafi).
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
)

// certManagerWorkers is the number of workers of each controller.
const certManagerWorkers = 4

// startCertManager runs cert-manager's controllers until the cluster's Stop.
func (c *Cluster) startCertManager(ctx context.Context, opts Options) error {
	c.opts = opts
	c.onStop(c.StopCertManager)
	return c.StartCertManager(ctx)
}

// StopCertManager ends cert-manager's controllers, as when its Deployment is scaled to
// none. If they do not run it does nothing.
func (c *Cluster) StopCertManager() error {
	stop := c.stopCertManager
	if stop == nil {
		return nil
	}
	c.stopCertManager = nil
	return stop()
}

// StartCertManager runs cert-manager's controllers in this process, again after
// StopCertManager. Its webhook and cainjector are not there: objects are checked by the
// CRDs' schema alone.
func (c *Cluster) StartCertManager(ctx context.Context) error {
	c.progress("starting cert-manager")
	kubeconfig, err := c.KubeconfigForUser(serviceAccountUser+csiDriverNamespace+":"+certManagerAccount, "system:masters")
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(logr.NewContext(context.WithoutCancel(ctx), c.log))
	factory, err := controller.NewContextFactory(run, controller.ContextOptions{
		Kubeconfig:    kubeconfig,
		IssuerOptions: controller.IssuerOptions{ClusterResourceNamespace: csiDriverNamespace},
		CertificateOptions: controller.CertificateOptions{
			EnableOwnerRef: c.opts.CertificateOwnerRef,
			// A failure is tried again at once, not in an hour.
			CertificateRequestMinimumBackoffDuration: time.Second,
			CertificateRequestMaximumBackoffDuration: 5 * time.Second,
		},
	})
	if err != nil {
		stop()
		return fmt.Errorf("configuring cert-manager: %w", err)
	}
	shared, err := factory.Build()
	if err != nil {
		stop()
		return fmt.Errorf("configuring cert-manager: %w", err)
	}
	serve, err := c.metricsOf(ctx, shared)
	if err != nil {
		stop()
		return err
	}
	wait, err := runControllers(run, factory, shared, c.opts.DisableApprover)
	c.stopCertManager = func() error {
		stop()
		return errors.Join(wait(), serve())
	}
	return err
}

// metricsOf serves cert-manager's metrics, as its own program does. It must come before the
// caches are started. The returned function ends it.
func (c *Cluster) metricsOf(ctx context.Context, shared *controller.Context) (func() error, error) {
	cached := shared.SharedInformerFactory.Certmanager().V1()
	shared.Metrics.SetupCertificateCollector(cached.Certificates().Lister())
	shared.Metrics.SetupIssuerCollector(cached.Issuers().Lister())
	shared.Metrics.SetupClusterIssuerCollector(cached.ClusterIssuers().Lister())
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serving cert-manager's metrics: %w", err)
	}
	c.CertManagerMetricsURL = "http://" + listener.Addr().String()
	server := shared.Metrics.NewServer(listener)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	return func() error {
		closed := server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving cert-manager's metrics: %w", err)
		}
		return closed
	}, nil
}

// runControllers starts all that are registered and their caches. The returned
// function waits for their end.
func runControllers(ctx context.Context, factory *controller.ContextFactory, shared *controller.Context, disableApprover bool) (func() error, error) {
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		errs    []error
	)
	wait := func() error {
		running.Wait()
		return errors.Join(errs...)
	}
	for name, construct := range controller.Known() {
		if disableApprover && name == approver.ControllerName {
			continue
		}
		ctl, err := construct(factory)
		if err != nil {
			return wait, fmt.Errorf("making cert-manager's controller %s: %w", name, err)
		}
		running.Go(func() {
			// A controller that is stopped while it starts says that it could not start.
			if err := ctl.Run(certManagerWorkers, ctx); err != nil && ctx.Err() == nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("cert-manager's controller %s: %w", name, err))
			}
		})
	}
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	shared.SharedInformerFactory.Start(ctx.Done())
	return wait, nil
}
