package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/internal/binaries"
	"example.io/mtls-injector/e2e/node"
	"example.io/mtls-injector/e2e/page"
	"example.io/mtls-injector/e2e/release"
	"example.io/mtls-injector/intent"
)

var (
	// stage has the release installed. In namespace "early" is a workload older than it.
	stage *release.Stage
	// programs are those that a reader of the pages has.
	programs map[string]string
	// stopPlatform ends the pods of the other charts.
	stopPlatform = func() error { return nil }
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	ctx := context.Background()
	err := prepare(ctx)
	if stage != nil {
		defer func() {
			if err := errors.Join(stopPlatform(), stage.Stop()); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func prepare(ctx context.Context) (err error) {
	product, err := binaries.EnsureProduct(ctx, clustertest.Stderr)
	if err != nil {
		return err
	}
	if stage, err = release.Start(ctx, release.Options{Progress: clustertest.Stderr, LogDir: os.Getenv("E2E_LOG_DIR")}); err != nil {
		return err
	}
	programs = map[string]string{"kubectl": stage.Kubectl, "kubectl-mtls": product.Plugin, "kubectl_complete-mtls": product.Plugin, "helm": stage.Helm.Path}
	if _, err := stage.CreateNamespace(ctx, "early", map[string]string{cluster.EnabledLabel: "true"}, nil); err != nil {
		return err
	}
	if err := apply(ctx, "testdata/workload.yaml", "early"); err != nil {
		return err
	}
	if _, err := stage.WaitForPods(ctx, "early", map[string]string{"app": "orders"}, 2); err != nil {
		return err
	}
	if err := runPlatform(ctx); err != nil {
		return err
	}
	_, err = stage.Install(ctx)
	return errors.Join(err, awaitInjection(ctx))
}

// runPlatform has what other charts install, with pods that are Ready.
func runPlatform(ctx context.Context) error {
	if err := apply(ctx, "testdata/platform.yaml", ""); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mtls-injector-plugin-")
	if err != nil {
		return err
	}
	n, err := node.New(stage.Cluster, dir)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	kubelet := &node.Kubelet{
		Node: n, Namespace: "cert-manager", OnError: func(error) {},
		Start: func(context.Context, *node.Container) (node.Process, error) { return nothing{}, nil },
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- kubelet.Run(run) }()
	stopPlatform = func() error {
		stop()
		return errors.Join(<-ended, os.RemoveAll(dir))
	}
	return nil
}

// nothing is a process that does nothing.
type nothing struct{}

func (nothing) Address() string { return "127.0.0.1:0" }
func (nothing) Stop() error     { return nil }

func apply(ctx context.Context, file, namespace string) error {
	manifests, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	_, err = stage.Apply(ctx, manifests, namespace)
	return err
}

// awaitInjection waits until the API server has learned of the webhook.
func awaitInjection(ctx context.Context) error {
	return stage.WaitFor(ctx, "pods to be injected", func(ctx context.Context) error {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "early", Name: "probe", Annotations: map[string]string{intent.Prefix + "role": "client"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.io/app"}}},
		}
		if err := stage.Client.Create(ctx, pod, client.DryRunAll); err != nil {
			return err
		}
		if pod.Labels[intent.LabelInjected] != "true" {
			return errors.New("a pod came out as it was")
		}
		return nil
	})
}

// shellOf returns a shell of somebody who has the kubeconfig.
func shellOf(t *testing.T, kubeconfig string) *page.Shell {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Symlink(filepath.Dir(stage.Chart), filepath.Join(dir, "charts")))
	shell, err := page.NewShell(dir, t.TempDir(), kubeconfig, programs)
	require.NoError(t, err)
	return shell
}

// admin is the shell of the cluster's administrator.
func admin(t *testing.T) *page.Shell {
	t.Helper()
	return shellOf(t, stage.Kubeconfig)
}

// user is the shell of somebody who may see what is in a namespace: the role "view", which
// cert-manager's chart extends to Certificates, and nothing else.
func user(t *testing.T, name, namespace string) *page.Shell {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, client.IgnoreAlreadyExists(stage.Client.Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "cert-manager-view", Labels: map[string]string{"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{"cert-manager.io"}, Verbs: []string{"get", "list", "watch"},
			Resources: []string{"certificates", "certificaterequests", "issuers"},
		}},
	})))
	require.NoError(t, client.IgnoreAlreadyExists(stage.Client.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}},
	})))
	kubeconfig, err := stage.KubeconfigForUser(name)
	require.NoError(t, err)
	return shellOf(t, kubeconfig)
}
