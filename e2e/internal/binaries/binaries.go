// Package binaries provides the programs of a real control plane, and this
// project's own, built from pinned Go modules: no image, no download page.
package binaries

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// assetsVariable names the folder of prebuilt etcd, kube-apiserver and kubectl
// that a user of envtest may already have.
const assetsVariable = "KUBEBUILDER_ASSETS"

// Progress is told, line by line, what is being built and how long it took.
// It may be nil.
type Progress func(line string)

// ControlPlane holds the paths of the programs that a test cluster runs.
type ControlPlane struct {
	Etcd              string
	APIServer         string
	ControllerManager string
	Kubectl           string
	// Tether ties processes and folders to the life of the program that made them.
	Tether string
	// KubernetesVersion is the version that the module pins, such as v1.36.3. Programs
	// taken from KUBEBUILDER_ASSETS can be of another one.
	KubernetesVersion string
}

// Product holds the paths of this project's own programs.
type Product struct {
	Injector string
	Plugin   string
}

// EnsureControlPlane returns the control plane's programs. What KUBEBUILDER_ASSETS
// has is taken from there; the rest is built once per version into the user's
// cache folder. A cold build takes about eight minutes on two cores.
func EnsureControlPlane(ctx context.Context, progress Progress) (*ControlPlane, error) {
	b, kubernetesModule, kubernetes, err := kubernetesBuilder(ctx, progress)
	if err != nil {
		return nil, err
	}
	etcdModule := filepath.Join(b.module, "tools", "etcd")

	cp := &ControlPlane{KubernetesVersion: kubernetes}
	flags := versionFlags(kubernetes)
	targets := []target{
		{name: "etcd", module: etcdModule, pkg: "go.etcd.io/etcd/server/v3", flags: "-s -w", path: &cp.Etcd},
		{name: "kube-apiserver", module: kubernetesModule, pkg: "k8s.io/kubernetes/cmd/kube-apiserver", flags: flags, hint: "4 minutes", path: &cp.APIServer},
		{name: "kube-controller-manager", module: kubernetesModule, pkg: "k8s.io/kubernetes/cmd/kube-controller-manager", flags: flags, hint: "3 minutes", path: &cp.ControllerManager},
		{name: "kubectl", module: kubernetesModule, pkg: "k8s.io/kubernetes/cmd/kubectl", flags: flags, path: &cp.Kubectl},
		{name: "tether", pkg: "example.io/mtls-injector/e2e/internal/tether", always: true, path: &cp.Tether},
	}
	return cp, b.ensure(ctx, targets)
}

// kubernetesBuilder returns a builder into the folder of Kubernetes's and etcd's programs,
// with the folder of the module that pins Kubernetes and its version.
func kubernetesBuilder(ctx context.Context, progress Progress) (b *builder, module, version string, err error) {
	if b, err = newBuilder(ctx, progress); err != nil {
		return nil, "", "", err
	}
	module = filepath.Join(b.module, "tools", "kubernetes")
	if version, err = b.moduleVersion(ctx, module, "k8s.io/kubernetes"); err != nil {
		return nil, "", "", err
	}
	etcd, err := b.moduleVersion(ctx, filepath.Join(b.module, "tools", "etcd"), "go.etcd.io/etcd/server/v3")
	if err != nil {
		return nil, "", "", err
	}
	b.dir = filepath.Join(b.dir, cacheKey(version, etcd))
	return b, module, version, nil
}

// EnsureProduct builds this project's own programs from the working tree. They
// are always rebuilt; Go's build cache makes that quick.
func EnsureProduct(ctx context.Context, progress Progress) (*Product, error) {
	b, err := newBuilder(ctx, progress)
	if err != nil {
		return nil, err
	}
	root := filepath.Dir(b.module)
	// Two working trees must not overwrite each other's programs.
	b.dir = filepath.Join(b.dir, "product-"+shortHash(root))
	p := &Product{}
	targets := []target{
		{name: "mtls-injector", module: root, pkg: "./cmd/mtls-injector", always: true, path: &p.Injector},
		{name: "kubectl-mtls", module: root, pkg: "./cmd/kubectl-mtls", always: true, path: &p.Plugin},
	}
	return p, b.ensure(ctx, targets)
}

// ModuleDir returns the folder of a module that this one depends on, such as
// cert-manager's, whose CRDs are plain files in it.
func ModuleDir(ctx context.Context, module string) (string, error) {
	b, err := newBuilder(ctx, nil)
	if err != nil {
		return "", err
	}
	return b.goOutput(ctx, b.module, "list", "-m", "-f", "{{.Dir}}", module)
}

// moduleRoot finds this module's folder: from the place of this very file, or,
// in a build with -trimpath, from the working directory.
func moduleRoot(ctx context.Context, b *builder) (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		root := filepath.Dir(filepath.Dir(filepath.Dir(file)))
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			return root, nil
		}
	}
	return b.goOutput(ctx, ".", "list", "-m", "-f", "{{.Dir}}", "example.io/mtls-injector/e2e")
}

// asset returns the path of a prebuilt program, if the user has one.
func asset(name string) (string, error) {
	dir := os.Getenv(assetsVariable)
	if dir == "" {
		return "", nil
	}
	path := filepath.Join(dir, name)
	switch _, err := os.Stat(path); { //nolint:gosec // the user says where to look
	case err == nil:
		return filepath.Abs(path)
	case errors.Is(err, os.ErrNotExist):
		return "", nil
	default:
		return "", fmt.Errorf("looking for %s in %s: %w", name, assetsVariable, err)
	}
}

// versionFlags stamp the Kubernetes version as its own build does: clients and
// feature gates look at it.
func versionFlags(version string) string {
	const pkg = "k8s.io/component-base/version"
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	return fmt.Sprintf("-s -w -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s", pkg, version, major, minor)
}
