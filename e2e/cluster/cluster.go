// Package cluster runs a real Kubernetes control plane on this machine, without
// root and without images: etcd, kube-apiserver with RBAC, the
// kube-controller-manager, and cert-manager's own controllers. It has one Node
// object but no kubelet: pods are made, admitted and stay Pending.
package cluster

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2/textlogger"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"example.io/mtls-injector/e2e/internal/binaries"
)

// NodeName is the name of the cluster's only Node.
const NodeName = "node-1"

//go:embed rbac.yaml
var injectorRBAC []byte

//go:embed csidriver.yaml
var csiDriverRBAC []byte

// Options say how a cluster differs from the usual one. The zero value is fine.
type Options struct {
	// Progress is told, line by line, what goes on. The first start on a machine
	// builds Kubernetes and takes minutes.
	Progress func(line string)
	// LogDir keeps the log files of all programs. By default they are in the
	// cluster's own folder and go with it.
	LogDir string
	// AuditPolicy is an audit.k8s.io/v1 Policy; the audit log is then in AuditLog.
	AuditPolicy []byte
	// ExtraAPIServerArgs are further flags of kube-apiserver, as name and values:
	// {"runtime-config": {"certificates.k8s.io/v1beta1=true"}}.
	ExtraAPIServerArgs map[string][]string
	// DisableApprover runs cert-manager without its own approver, so that requests
	// wait for a decision of the test or of approver-policy.
	DisableApprover bool
	// CertificateOwnerRef has cert-manager make each Certificate the owner of its Secret, as
	// its flag --enable-certificate-owner-ref does.
	CertificateOwnerRef bool
	// RouteServices lets the API server reach Services, by [Cluster.RouteServices].
	RouteServices bool
	// WithoutInjector leaves out the rights and the namespace of the injector, which the
	// chart brings.
	WithoutInjector bool
	// Address is an address of this machine that pods reach, for the API server to listen on.
	// With one, real nodes can join: none is made, and the controllers of nodes run. The first
	// address of service-cluster-ip-range must then be [ServiceAddress].
	Address string
}

// Cluster is a running control plane.
type Cluster struct {
	// Config is the client configuration of a cluster administrator.
	Config *rest.Config
	// Kubeconfig is the path of the same as a file, of mode 0600.
	Kubeconfig string
	// Client is the administrator's client, without a cache.
	Client client.WithWatch
	// Scheme knows the built-in types and cert-manager's.
	Scheme *runtime.Scheme
	// Version is the API server's own, such as v1.36.3.
	Version string
	// Kubectl is the path of a kubectl of that version.
	Kubectl string
	// AuditLog is the path of the audit log, if Options had a policy.
	AuditLog string
	// CertManagerMetricsURL is the base of cert-manager's own metrics: append /metrics.
	CertManagerMetricsURL string

	progress func(line string)
	programs *binaries.ControlPlane
	dir      string
	logDir   string
	log      logr.Logger
	env      *envtest.Environment
	services *serviceProxy
	opts     Options
	stops    []func() error // run last to first

	stopCertManager func() error // nil if it does not run
}

// Start starts a cluster and waits until it can take workloads and issue
// certificates. ctx bounds only the start; the cluster runs until Stop, or until
// this program dies.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	c := &Cluster{progress: opts.Progress, logDir: opts.LogDir, Scheme: NewScheme()}
	if c.progress == nil {
		c.progress = func(string) {}
	}
	steps := []func(context.Context, Options) error{
		c.ensurePrograms,
		c.makeFolders,
		c.startControlPlane,
		c.connect,
		c.startControllerManager,
		c.prepare,
		c.startCertManager,
	}
	for _, step := range steps {
		if err := step(ctx, opts); err != nil {
			return nil, fmt.Errorf("starting the cluster: %w", errors.Join(err, c.Stop()))
		}
	}
	c.progress("Kubernetes " + c.Version + " with cert-manager is up")
	return c, nil
}

// Stop ends everything that the cluster runs and removes its files. Only the
// first call does something.
func (c *Cluster) Stop() error {
	var errs []error
	for len(c.stops) > 0 {
		last := len(c.stops) - 1
		errs = append(errs, c.stops[last]())
		c.stops = c.stops[:last]
	}
	return errors.Join(errs...)
}

// NewScheme returns a scheme with the built-in types and cert-manager's.
func NewScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(cmapi.AddToScheme(scheme))
	return scheme
}

// CreateNamespace makes a namespace, with a generated name if name ends in a dash,
// and waits until pods can be created in it.
func (c *Cluster) CreateNamespace(ctx context.Context, name string, labels, annotations map[string]string) (*corev1.Namespace, error) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, Annotations: annotations}}
	if name[len(name)-1] == '-' {
		ns.Name, ns.GenerateName = "", name
	}
	if err := c.Client.Create(ctx, ns); err != nil {
		return nil, fmt.Errorf("creating the namespace %s: %w", name, err)
	}
	return ns, c.waitForNamespace(ctx, ns.Name)
}

// waitForNamespace waits for what the controller manager puts into a namespace.
func (c *Cluster) waitForNamespace(ctx context.Context, name string) error {
	return poll(ctx, "the default service account of "+name, func(ctx context.Context) error {
		key := types.NamespacedName{Namespace: name, Name: "default"}
		return c.Client.Get(ctx, key, &corev1.ServiceAccount{})
	})
}

func (c *Cluster) ensurePrograms(ctx context.Context, _ Options) error {
	programs, err := binaries.EnsureControlPlane(ctx, c.progress)
	if err != nil {
		return err
	}
	c.programs, c.Kubectl = programs, programs.Kubectl
	return nil
}

// makeFolders makes the cluster's own folder, with a watchman that removes it
// should this program die before Stop does.
func (c *Cluster) makeFolders(context.Context, Options) error {
	dir, err := os.MkdirTemp("", "mtls-injector-cluster-")
	if err != nil {
		return fmt.Errorf("making the cluster's folder: %w", err)
	}
	c.dir = dir
	if c.logDir == "" {
		c.logDir = filepath.Join(dir, "logs")
	}
	if err := os.MkdirAll(c.logDir, 0o750); err != nil {
		return errors.Join(fmt.Errorf("making the log folder: %w", err), os.RemoveAll(dir))
	}
	if err := c.startCleaner(); err != nil {
		return err
	}
	file, err := c.createLog("in-process")
	if err != nil {
		return err
	}
	c.onStop(file.Close)
	c.log = textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(file), textlogger.Verbosity(2)))
	// controller-runtime complains on the terminal when it is not told where to log.
	ctrllog.SetLogger(c.log)
	return nil
}

// connect makes the administrator's client and kubeconfig.
func (c *Cluster) connect(ctx context.Context, _ Options) error {
	var err error
	if c.Config, err = c.ConfigForUser("admin", "system:masters"); err != nil {
		return err
	}
	if c.Kubeconfig, err = c.KubeconfigForUser("admin", "system:masters"); err != nil {
		return err
	}
	if c.Client, err = client.NewWithWatch(c.Config, client.Options{Scheme: c.Scheme}); err != nil {
		return fmt.Errorf("making the client: %w", err)
	}
	c.Version, err = serverVersion(ctx, c.Config)
	return err
}

// prepare makes the objects that every cluster has.
func (c *Cluster) prepare(ctx context.Context, opts Options) error {
	manifests := [][]byte{csiDriverRBAC}
	if !opts.WithoutInjector {
		manifests = append(manifests, injectorRBAC)
	}
	for _, manifest := range manifests {
		if _, err := c.Apply(ctx, manifest, ""); err != nil {
			return err
		}
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: csiDriverNamespace}}
	if err := c.Client.Create(ctx, ns); err != nil {
		return fmt.Errorf("creating the namespace %s: %w", ns.Name, err)
	}
	if opts.Address == "" {
		if err := c.createNode(ctx); err != nil {
			return err
		}
	}
	// The namespaces exist; their service accounts show that the controller
	// manager works.
	return errors.Join(c.waitForNamespace(ctx, metav1.NamespaceDefault), c.waitForNamespace(ctx, csiDriverNamespace))
}

// createNode makes the Node that DaemonSets run on. A new Node is tainted as not
// ready, which only a running kubelet would change.
func (c *Cluster) createNode(ctx context.Context) error {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: NodeName, Labels: map[string]string{corev1.LabelHostname: NodeName}},
	}
	if err := c.Client.Create(ctx, node); err != nil {
		return fmt.Errorf("creating the node: %w", err)
	}
	node.Spec.Taints = nil
	if err := c.Client.Update(ctx, node); err != nil {
		return fmt.Errorf("removing the node's taints: %w", err)
	}
	return nil
}

func (c *Cluster) onStop(stop func() error) { c.stops = append(c.stops, stop) }
