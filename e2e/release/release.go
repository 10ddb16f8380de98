// Package release installs the chart into a real control plane, with Helm, and runs what it
// installs. cert-manager's controllers and its CA injector run beside it.
package release

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/helm"
	"example.io/mtls-injector/e2e/internal/binaries"
	"example.io/mtls-injector/e2e/replica"
)

// The release as the README installs it.
const (
	Name      = "mtls-injector"
	Namespace = "mtls-injector"
)

//go:embed prerequisites.yaml
var prerequisites []byte

//go:embed audit-policy.yaml
var auditPolicy []byte

// Options say where things go.
type Options struct {
	// Progress is told what goes on.
	Progress func(line string)
	// LogDir keeps the programs' logs; by default they go with the cluster.
	LogDir string
	// Binary replaces the program built from the working tree.
	Binary string
	// Audit has the API server write down what the injector asks for, in AuditLog.
	Audit bool
}

// Stage is a cluster for the chart to be installed in. Whatever pods the chart makes in its
// namespace run.
type Stage struct {
	*cluster.Cluster
	Helm *helm.CLI
	// Chart is the path of the chart.
	Chart string
	Pods  *replica.Set

	// Tests runs the pods of `helm test`.
	Tests *replica.Once

	dir     string
	stop    context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	errs    []error
}

// Start starts the cluster, with what the README and the variations of the values take for
// granted.
func Start(ctx context.Context, opts Options) (*Stage, error) {
	var audit []byte
	if opts.Audit {
		audit = auditPolicy
	}
	c, err := cluster.Start(ctx, cluster.Options{
		AuditPolicy: audit, Progress: opts.Progress, LogDir: opts.LogDir, RouteServices: true, WithoutInjector: true,
		ExtraAPIServerArgs: map[string][]string{
			"service-cluster-ip-range": {"10.0.0.0/16"}, // envtest's /24 is too small
			// Otherwise it waits a minute for watches to end when it is to restart.
			"shutdown-watch-termination-grace-period": {"2s"},
		},
	})
	if err != nil {
		return nil, err
	}
	s := &Stage{Cluster: c, stop: func() {}}
	for _, step := range []func(context.Context, Options) error{s.prepare, s.certManager, s.others, s.runPods} {
		if err := step(ctx, opts); err != nil {
			return nil, errors.Join(err, s.Stop())
		}
	}
	return s, nil
}

func (s *Stage) prepare(ctx context.Context, opts Options) error {
	root, err := binaries.ModuleDir(ctx, "example.io/mtls-injector")
	if err != nil {
		return err
	}
	s.Chart = filepath.Join(root, "charts", "mtls-injector")
	if s.dir, err = os.MkdirTemp("", "mtls-injector-release-"); err != nil {
		return fmt.Errorf("making a folder for the release: %w", err)
	}
	s.Helm, err = helm.New(ctx, s.Kubeconfig, filepath.Join(s.dir, "helm"), opts.Progress)
	return err
}

func (s *Stage) certManager(ctx context.Context, _ Options) error {
	if err := s.RunCAInjector(ctx); err != nil {
		return err
	}
	return s.RunTrustManager(ctx)
}

func (s *Stage) others(ctx context.Context, _ Options) error {
	crds, err := binaries.PrometheusOperatorCRDs(ctx)
	if err != nil {
		return err
	}
	if _, err := envtest.InstallCRDs(s.Config, envtest.CRDInstallOptions{Paths: []string{crds}, ErrorIfPathMissing: true, MaxTime: time.Minute}); err != nil {
		return fmt.Errorf("installing the CRDs of the Prometheus Operator: %w", err)
	}
	if _, err := s.Apply(ctx, prerequisites, ""); err != nil {
		return err
	}
	return s.WaitForIssuer(ctx, "", "internal")
}

func (s *Stage) runPods(ctx context.Context, opts Options) error {
	of := func(name string) replica.Options {
		return replica.Options{
			Namespace: Namespace, Labels: client.MatchingLabels{"app.kubernetes.io/name": name},
			Root: filepath.Join(s.dir, name), Binary: opts.Binary, Log: opts.Progress,
		}
	}
	var err error
	if s.Pods, err = replica.New(ctx, s.Cluster, of("mtls-injector")); err != nil {
		return err
	}
	s.Tests = &replica.Once{Cluster: s.Cluster, Options: of("mtls-injector-smoke-test")}
	s.Tests.Binary = s.Pods.Binary()
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.background(run, s.Pods.Run)
	s.background(run, s.Tests.Run)
	return nil
}

func (s *Stage) background(ctx context.Context, run func(context.Context) error) {
	s.running.Go(func() {
		err := run(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.errs = append(s.errs, err)
	})
}

// Stop ends everything. Only the first call does something.
func (s *Stage) Stop() error {
	s.stop()
	s.running.Wait()
	errs := append(s.errs, s.Cluster.Stop(), os.RemoveAll(s.dir))
	s.errs = nil
	return errors.Join(errs...)
}

// Install installs the chart as the README says, with further arguments, and waits until it
// is ready.
func (s *Stage) Install(ctx context.Context, args ...string) (string, error) {
	return s.Helm.Run(ctx, append([]string{"install", Name, s.Chart, "--namespace", Namespace, "--create-namespace", "--wait", "--timeout", "2m"}, args...)...)
}

// Upgrade upgrades the release and waits until it is ready.
func (s *Stage) Upgrade(ctx context.Context, args ...string) (string, error) {
	return s.Helm.Run(ctx, append([]string{"upgrade", Name, s.Chart, "--namespace", Namespace, "--wait", "--timeout", "2m"}, args...)...)
}

// Uninstall uninstalls the release and waits until its objects are gone.
func (s *Stage) Uninstall(ctx context.Context) (string, error) {
	return s.Helm.Run(ctx, "uninstall", Name, "--namespace", Namespace, "--wait", "--timeout", "2m")
}
