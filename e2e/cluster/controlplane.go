package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"example.io/mtls-injector/e2e/internal/binaries"
)

// controllers are those of kube-controller-manager that make, feed or remove pods
// and what they need. The rest wants nodes, volumes or a cloud.
const controllers = "clusterrole-aggregation-controller,cronjob-controller,daemonset-controller," +
	"deployment-controller,disruption-controller,endpoints-controller,endpointslice-controller," +
	"garbage-collector-controller,job-controller,namespace-controller,replicaset-controller," +
	"resourcequota-controller,root-ca-certificate-publisher-controller,serviceaccount-controller," +
	"serviceaccount-token-controller,statefulset-controller,ttl-after-finished-controller"

// startCleaner starts the watchman that removes the cluster's folder: it ends with
// its standard input, so both when Stop closes that and when this program dies.
func (c *Cluster) startCleaner() error {
	//nolint:gosec,noctx // our own program, which outlives any context on purpose
	cmd := exec.Command(c.programs.Tether, "clean", c.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("starting the cleaner: %w", err), os.RemoveAll(c.dir))
	}
	c.onStop(func() error {
		return errors.Join(stdin.Close(), cmd.Wait(), os.RemoveAll(c.dir))
	})
	return nil
}

// startControlPlane starts etcd and kube-apiserver and installs cert-manager's CRDs.
func (c *Cluster) startControlPlane(ctx context.Context, opts Options) error {
	c.progress("starting etcd and kube-apiserver")
	certManager, err := binaries.ModuleDir(ctx, "github.com/cert-manager/cert-manager")
	if err != nil {
		return err
	}
	certificates := filepath.Join(c.dir, "envtest") // which envtest makes whether or not they are used
	if err := os.Mkdir(certificates, 0o700); err != nil {
		return fmt.Errorf("making a folder for envtest: %w", err)
	}
	existing := false // whatever the environment says: this is a cluster of its own
	c.env = &envtest.Environment{
		UseExistingCluster:    &existing,
		CRDDirectoryPaths:     []string{filepath.Join(certManager, "deploy", "crds")},
		ErrorIfCRDPathMissing: true,
		WebhookInstallOptions: envtest.WebhookInstallOptions{LocalServingCertDir: certificates},
		// Ample for a machine that is busy with something else.
		ControlPlaneStartTimeout: time.Minute,
		ControlPlaneStopTimeout:  time.Minute,
	}
	if err := c.configureEtcd(); err != nil {
		return err
	}
	if err := c.configureAPIServer(ctx, opts); err != nil {
		return err
	}
	// It stops what it has started when it cannot start all.
	if _, err := c.env.Start(); err != nil {
		return fmt.Errorf("%w\nend of kube-apiserver's log:\n%s", errors.Join(err, c.env.Stop()),
			tail(filepath.Join(c.logDir, "kube-apiserver.log"), 20))
	}
	c.onStop(c.env.Stop)
	return ctx.Err()
}

func (c *Cluster) configureEtcd() error {
	path, err := c.tethered("etcd", c.programs.Etcd)
	if err != nil {
		return err
	}
	log, err := c.createLog("etcd")
	if err != nil {
		return err
	}
	c.onStop(log.Close)
	c.env.ControlPlane.Etcd = &envtest.Etcd{Path: path, DataDir: filepath.Join(c.dir, "etcd"), Out: log, Err: log}
	return nil
}

func (c *Cluster) configureAPIServer(ctx context.Context, opts Options) error {
	path, err := c.tethered("kube-apiserver", c.programs.APIServer)
	if err != nil {
		return err
	}
	log, err := c.createLog("kube-apiserver")
	if err != nil {
		return err
	}
	c.onStop(log.Close)
	api := c.env.ControlPlane.GetAPIServer()
	api.Path, api.CertDir = path, filepath.Join(c.dir, "kube-apiserver")
	api.Out, api.Err = log, log
	if err := os.Mkdir(api.CertDir, 0o700); err != nil {
		return fmt.Errorf("making a folder for kube-apiserver: %w", err)
	}
	// envtest turns ServiceAccount admission off, for it runs no controller that
	// makes the accounts. Here is one.
	args := api.Configure().Disable("disable-admission-plugins")
	if opts.Address != "" {
		if err := listenForPods(api, opts.Address); err != nil {
			return err
		}
	}
	for name, values := range opts.ExtraAPIServerArgs {
		args.Append(name, values...)
	}
	if opts.RouteServices {
		config, err := c.startServiceProxy(ctx)
		if err != nil {
			return err
		}
		args.Set("egress-selector-config-file", config)
	}
	if opts.AuditPolicy == nil {
		return nil
	}
	policy := filepath.Join(c.dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, opts.AuditPolicy, 0o600); err != nil {
		return fmt.Errorf("writing the audit policy: %w", err)
	}
	c.AuditLog = filepath.Join(c.logDir, "audit.log")
	args.Set("audit-policy-file", policy).Set("audit-log-path", c.AuditLog)
	return nil
}

// RestartAPIServer ends kube-apiserver and starts it anew, as an upgrade of a control plane
// with one server does. Between the two it answers nobody.
func (c *Cluster) RestartAPIServer() error {
	api := c.env.ControlPlane.GetAPIServer()
	if err := api.Stop(); err != nil {
		return fmt.Errorf("stopping kube-apiserver: %w", err)
	}
	if err := api.Start(); err != nil {
		return fmt.Errorf("starting kube-apiserver again: %w", err)
	}
	return nil
}

// tethered makes a script that runs the program tied to this one's life: envtest
// starts a path, and has no say in how.
func (c *Cluster) tethered(name, program string) (string, error) {
	path := filepath.Join(c.dir, name+".sh")
	script := fmt.Sprintf("#!/bin/sh\nexec %s exec %s \"$@\"\n", quote(c.programs.Tether), quote(program))
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil { //nolint:gosec // a script is to be executed
		return "", fmt.Errorf("writing the start script of %s: %w", name, err)
	}
	return path, nil
}

// quote makes a word of a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// startControllerManager starts the controllers that turn workloads into pods.
// As in a real cluster, each acts as its own service account.
func (c *Cluster) startControllerManager(_ context.Context, opts Options) error {
	c.progress("starting kube-controller-manager")
	kubeconfig, err := c.KubeconfigForUser(controllerManager)
	if err != nil {
		return err
	}
	api := c.env.ControlPlane.GetAPIServer()
	rootCA := filepath.Join(c.dir, "root-ca.crt")
	if err := os.WriteFile(rootCA, api.CA, 0o600); err != nil {
		return fmt.Errorf("writing the API server's CA: %w", err)
	}
	run := controllers
	if opts.Address != "" {
		run += nodeControllers
	}
	p, err := c.startProcess("kube-controller-manager", c.programs.ControllerManager,
		"--kubeconfig="+kubeconfig,
		"--controllers="+run,
		"--leader-elect=false",
		"--secure-port=0", // nobody asks it for health or metrics
		"--use-service-account-credentials=true",
		"--service-account-private-key-file="+filepath.Join(api.CertDir, "sa-signer.key"),
		"--root-ca-file="+rootCA,
		"--kube-api-qps=1000", "--kube-api-burst=2000",
	)
	if err != nil {
		return err
	}
	c.onStop(p.stop)
	return nil
}

func serverVersion(ctx context.Context, config *rest.Config) (string, error) {
	cs, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return "", fmt.Errorf("making a discovery client: %w", err)
	}
	version, err := cs.ServerVersion()
	if err != nil {
		return "", fmt.Errorf("asking for the server's version: %w", err)
	}
	return version.GitVersion, ctx.Err()
}
