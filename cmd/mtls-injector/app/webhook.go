package app

// How `mtls-injector webhook` is wired together.

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"runtime/debug"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"example.io/mtls-injector/certs"
	"example.io/mtls-injector/config"
	"example.io/mtls-injector/webhook"
)

// leaseName is the Lease that the replicas compete for.
const leaseName = "mtls-injector"

func newWebhookCommand(version string) *cobra.Command {
	var opts webhookOptions
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Serve the admission webhook and write companion Certificates",
		Long: "Serve the admission webhook, on every replica, and write companion Certificates, on the one that leads.\n\n" +
			"Told to stop (SIGTERM, SIGINT), it says at /readyz that it is not ready, serves on for --drain-delay, ends the requests\n" +
			"that it has begun, and exits; told twice, it exits at once.\n\n" +
			"GOMAXPROCS follows the container's CPU limit by itself. Set GOMEMLIMIT in the container's environment to some 90 % of\n" +
			"its memory limit, so that the collector works harder before the kernel kills.",
		Example: "  # In a pod: with its service account, and a configuration from a ConfigMap\n" +
			"  mtls-injector webhook --config /etc/mtls-injector/config.yaml --cert-dir /etc/mtls-injector/serving-certs --leader-elect\n\n" +
			"  # Without certificate files: one that makes itself, and a caBundle that follows\n" +
			"  mtls-injector webhook --leader-elect --serving-cert-mode self-managed --serving-cert-secret-namespace mtls-injector \\\n" +
			"    --serving-cert-secret-name mtls-injector-webhook-ca --serving-cert-dns-names mtls-injector.mtls-injector.svc \\\n" +
			"    --webhook-configuration-name mtls-injector\n\n" +
			"  # On a workstation, for a cluster that can reach it\n" +
			"  mtls-injector webhook --kubeconfig ~/.kube/config --cert-dir ./certs --bind-address 127.0.0.1 --zap-log-level debug",
		Args:              cobra.NoArgs,
		DisableAutoGenTag: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := opts.complete()
			if err != nil {
				return err
			}
			log := zap.New(zap.UseFlagOptions(&s.log), zap.WriteTo(cmd.ErrOrStderr()))
			useLogger(log)
			return runWebhook(cmd.Context(), s, version, log, metrics.Registry)
		},
	}
	opts.bind(cmd.Flags())
	return cmd
}

// useLogger lets the libraries log where we do: controller-runtime, client-go, and
// net/http, which writes to the standard logger.
func useLogger(log logr.Logger) {
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	slog.SetDefault(slog.New(logr.ToSlogHandler(log)))
}

// runWebhook runs until the context has ended and what was begun is done.
func runWebhook(ctx context.Context, s *settings, version string, log logr.Logger, registerer prometheus.Registerer) error {
	log.Info("starting", "version", version)
	thriftyGC()
	watcher, err := config.NewWatcher(config.WatcherOptions{
		Path: s.config, Version: version, Log: log.WithName("config"), Registerer: registerer,
	})
	if err != nil {
		return err
	}
	server, err := newServer(s, log)
	if err != nil {
		return err
	}
	mgr, err := newManager(s, server, log)
	if err != nil {
		return err
	}
	if err := mgr.Add(watcher); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if err := followKubernetes(mgr, watcher, log); err != nil {
		return fmt.Errorf("version of the API server: %w", err)
	}
	err = server.SetupWithManager(ctx, mgr, webhook.Options{
		Defaults: watcher.Current, VerifyWorkload: certs.WorkloadVerifier{Reader: mgr.GetAPIReader()}.Verify,
		Registerer: registerer, Log: log.WithName("webhook"),
	})
	if err != nil {
		return err
	}
	err = certs.SetupWithManager(mgr, certs.Options{
		Defaults: watcher.Current, Subscribe: watcher.Subscribe, Registerer: registerer,
	})
	if err != nil {
		return err
	}
	return mgr.Start(server.Drain(ctx, s.drainDelay))
}

// followKubernetes has the manager read the API server's version, on which what pods get
// depends; the webhook is not ready without it.
func followKubernetes(mgr manager.Manager, watcher *config.Watcher, log logr.Logger) error {
	client, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return err
	}
	kubernetes := webhook.NewKubernetes(webhook.KubernetesOptions{
		Discovery: client, Tell: watcher.SetKubernetes, Log: log.WithName("kubernetes"),
	})
	if err := mgr.Add(kubernetes); err != nil {
		return err
	}
	return mgr.AddReadyzCheck("kubernetes", kubernetes.Check)
}

// thriftyGC has the collector run twice as often as by default, unless GOGC says otherwise.
// Nearly all of the memory is the cache, which lives on, and little garbage is made, so the
// heap need not grow to twice of what is in use before it is looked through.
func thriftyGC() {
	const percent = 50
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

func newManager(s *settings, server *webhook.Server, log logr.Logger) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, cmapi.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("scheme: %w", err)
		}
	}
	byObject := map[client.Object]cache.ByObject{}
	maps.Copy(byObject, webhook.CacheByObject())
	maps.Copy(byObject, certs.CacheByObject())
	mgr, err := ctrl.NewManager(s.rest, ctrl.Options{
		Scheme:                  scheme,
		Logger:                  log,
		MapperProvider:          newMapper,
		Cache:                   cache.Options{ByObject: byObject, DefaultTransform: cache.TransformStripManagedFields()},
		WebhookServer:           server.Hooks(),
		HealthProbeBindAddress:  s.healthAddress,
		Metrics:                 metricsserver.Options{BindAddress: s.metricsAddress},
		LeaderElection:          s.leaderElect,
		LeaderElectionID:        leaseName,
		LeaderElectionNamespace: s.leaderElectNamespace,
		// The process ends with the manager, so another replica may lead at once.
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       &s.shutdownTimeout,
		// The priority queue of controller-runtime 0.24.1 can lock up while it is shut down
		// with items pending, and the webhook's server is stopped only after it.
		//
		// Where cert-manager is not installed there are no Certificates to watch yet. The
		// controller waits for them however long it takes, and the webhook serves.
		Controller: ctrlconfig.Controller{UsePriorityQueue: new(false), CacheSyncTimeout: math.MaxInt64},
	})
	if err != nil {
		return nil, fmt.Errorf("manager: %w", err)
	}
	return mgr, nil
}
