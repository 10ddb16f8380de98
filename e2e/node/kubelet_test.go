package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"example.io/mtls-injector/e2e/cluster"
)

// fakeProcess serves at an address until it is stopped.
type fakeProcess struct {
	address string
	err     error
	stopped atomic.Bool
}

func (p *fakeProcess) Address() string { return p.address }

func (p *fakeProcess) Stop() error {
	p.stopped.Store(true)
	return p.err
}

// kubeletOf runs a kubelet in the test's bubble.
type kubeletOf struct {
	*Kubelet
	started []*Container
	process fakeProcess
	stop    func() error

	mu   sync.Mutex
	told []string
}

func startKubelet(t *testing.T, objects ...client.Object) *kubeletOf {
	t.Helper()
	k := &kubeletOf{process: fakeProcess{address: "127.0.0.1:1"}}
	n := newNode(t)
	n.Client = fake.NewClientBuilder().WithScheme(cluster.NewScheme()).WithObjects(objects...).
		WithStatusSubresource(&corev1.Pod{}).WithInterceptorFuncs(interceptor.Funcs{SubResourceCreate: bind, Delete: k.finish}).Build()
	k.Kubelet = &Kubelet{
		Node: n, Namespace: "shop", Labels: client.MatchingLabels{"app": "web"},
		Start: func(_ context.Context, c *Container) (Process, error) {
			k.started = append(k.started, c)
			return &k.process, nil
		},
		OnError: func(err error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.told = append(k.told, err.Error())
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	k.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = k.stop() })
	return k
}

// toldSoFar is what OnError was told.
func (k *kubeletOf) toldSoFar() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.told)
}

// bind does what the fake API server cannot do itself.
func bind(ctx context.Context, c client.Client, _ string, pod, binding client.Object, _ ...client.SubResourceCreateOption) error {
	if err := c.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
		return err
	}
	pod.(*corev1.Pod).Spec.NodeName = binding.(*corev1.Binding).Target.Name
	return c.Update(ctx, pod)
}

// finish makes a deletion without a grace period the last one, as the API server does.
func (k *kubeletOf) finish(ctx context.Context, c client.WithWatch, pod client.Object, opts ...client.DeleteOption) error {
	options := (&client.DeleteOptions{}).ApplyOptions(opts)
	if err := c.Delete(ctx, pod, opts...); err != nil || options.GracePeriodSeconds == nil {
		return err
	}
	if *options.Preconditions.UID != pod.GetUID() {
		return errors.New("it is another pod")
	}
	return c.Patch(ctx, pod, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
}

// pass lets the kubelet's time go by.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

const servingSpec = `
containers:
- name: web
  args: [--load-once]
  env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
  lifecycle: {preStop: {sleep: {seconds: 5}}}
  volumeMounts: [{name: conf, mountPath: /etc/conf}]
- name: sidecar
volumes: [{name: conf, configMap: {name: conf}}]
`

func TestKubeletRunsAPodUntilItHasDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := parsePod(t, servingSpec)
		k := startKubelet(t, pod, configMap(map[string]string{"a": "1"}))
		pass(time.Second)
		require.Len(t, k.started, 1)
		c := k.started[0]
		assert.Equal(t, "web", c.Name)
		assert.Equal(t, []string{"NODE=" + cluster.NodeName}, c.Env)
		assert.Equal(t, []string{"--load-once"}, c.Args)
		assert.FileExists(t, Path(c.Root, "/etc/conf/a"))
		assert.Equal(t, []Endpoint{{"web-0", "127.0.0.1:1"}}, k.Endpoints(labels.Set{"app": "web"}))
		assert.Empty(t, k.Endpoints(labels.Set{"app": "other"}))

		require.NoError(t, k.Node.Client.Get(t.Context(), client.ObjectKeyFromObject(pod), pod))
		assert.Equal(t, corev1.PodRunning, pod.Status.Phase)
		assert.Len(t, pod.Status.ContainerStatuses, 2)
		for _, condition := range pod.Status.Conditions {
			assert.Equal(t, corev1.ConditionTrue, condition.Status, condition.Type)
		}

		require.NoError(t, k.Node.Client.Delete(t.Context(), pod))
		pass(lookInterval)
		assert.Empty(t, k.Endpoints(labels.Set{"app": "web"}), "at once")
		pass(4 * time.Second)
		assert.False(t, k.process.stopped.Load(), "the hook sleeps still")
		assert.FileExists(t, Path(c.Root, "/etc/conf/a"))
		pass(time.Second)
		assert.True(t, k.process.stopped.Load())
		assert.NoFileExists(t, Path(c.Root, "/etc/conf/a"))
		require.NoError(t, k.stop())
		assert.Len(t, k.started, 1, "not once more")
		assert.Empty(t, k.toldSoFar())
	})
}

// A pod that the API server keeps until the kubelet is done with it.
func TestKubeletRemovesAPodThatIsBeingDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := parsePod(t, servingSpec)
		pod.Finalizers = []string{"example.io/stay"}
		k := startKubelet(t, pod, configMap(nil))
		pass(time.Second)
		require.NoError(t, k.Node.Client.Delete(t.Context(), pod))
		pass(lookInterval)
		assert.Empty(t, k.Endpoints(nil))
		pass(4 * time.Second)
		require.NoError(t, k.Node.Client.Get(t.Context(), client.ObjectKeyFromObject(pod), pod), "it is still ending")
		assert.False(t, k.process.stopped.Load())
		pass(time.Second)
		assert.True(t, k.process.stopped.Load())
		assert.True(t, apierrors.IsNotFound(k.Node.Client.Get(t.Context(), client.ObjectKeyFromObject(pod), pod)))
		require.NoError(t, k.stop())
	})
}

func TestKubeletTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := startKubelet(t, parsePod(t, servingSpec))
		pass(time.Second)
		assert.Empty(t, k.started)
		assert.Empty(t, k.Endpoints(nil))
		require.NotEmpty(t, k.toldSoFar())
		assert.Contains(t, k.toldSoFar()[0], `starting pod web-0: mounting conf at /etc/conf in container web: ConfigMap conf: configmaps "conf" not found`)
		require.NoError(t, k.Node.Client.Create(t.Context(), configMap(nil)))
		pass(time.Second)
		assert.Len(t, k.Endpoints(nil), 1)
		require.NoError(t, k.stop())
	})
}

func TestKubeletForgetsAPodThatNeverStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := parsePod(t, servingSpec)
		k := startKubelet(t, pod)
		pass(time.Second)
		require.NoError(t, k.Node.Client.Delete(t.Context(), pod))
		pass(time.Second)
		told := k.toldSoFar()
		pass(time.Minute)
		assert.Equal(t, told, k.toldSoFar())
		require.NoError(t, k.stop())
		assert.Empty(t, k.started)
	})
}

func TestKubeletStopsItsProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := parsePod(t, servingSpec)
		k := startKubelet(t, pod, configMap(nil))
		k.process.err = errors.New("it crashed")
		pass(time.Second)
		before := time.Now()
		require.EqualError(t, k.stop(), "the container of pod web-0: it crashed")
		assert.Equal(t, before, time.Now(), "without delay")
		assert.True(t, k.process.stopped.Load())
		require.NoError(t, k.Node.Client.Get(t.Context(), client.ObjectKeyFromObject(pod), pod), "nobody has deleted it")
	})
}
