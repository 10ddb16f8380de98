package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/intent"
)

// scene is one file of manifests, set up twice: in the namespace that it names, which is
// opted in, and in a twin of it that is not.
type scene struct {
	file             string
	cluster          *cluster.Cluster
	client           client.Client // tells warnings to the context's collector
	namespace, plain string
	workloads        []client.Object
}

// newScene makes the namespaces of a file and everything in it but the workloads.
func newScene(t *testing.T, c *cluster.Cluster, file string) *scene {
	t.Helper()
	s := &scene{file: filepath.Base(file), cluster: c, client: warningClient(t, c)}
	for _, obj := range readManifests(t, c.Scheme, file) {
		namespace, isNamespace := obj.(*corev1.Namespace)
		switch {
		case isNamespace:
			s.makeNamespaces(t, namespace)
		case podOf(obj) != nil:
			s.workloads = append(s.workloads, obj)
		default:
			s.makeSupport(t, obj)
		}
	}
	return s
}

func (s *scene) makeNamespaces(t *testing.T, namespace *corev1.Namespace) {
	t.Helper()
	s.namespace, s.plain = namespace.Name, namespace.Name+"-plain"
	require.Equal(t, "true", namespace.Labels[cluster.EnabledLabel])
	_, err := s.cluster.CreateNamespace(t.Context(), s.namespace, namespace.Labels, namespace.Annotations)
	require.NoError(t, err)
	labels := copyOf(namespace.Labels)
	delete(labels, cluster.EnabledLabel)
	_, err = s.cluster.CreateNamespace(t.Context(), s.plain, labels, nil)
	require.NoError(t, err)
}

// makeSupport makes an object that pods need, in both namespaces if it has one.
func (s *scene) makeSupport(t *testing.T, obj client.Object) {
	t.Helper()
	require.NotEmpty(t, s.namespace, "a file begins with its Namespace")
	twin, _ := obj.DeepCopyObject().(client.Object)
	require.NoError(t, s.cluster.Client.Create(t.Context(), obj))
	if twin.GetNamespace() != "" {
		require.Equal(t, s.namespace, twin.GetNamespace())
		twin.SetNamespace(s.plain)
		require.NoError(t, s.cluster.Client.Create(t.Context(), twin))
	}
}

// dryRun asks for the pod in the namespace, without making it, and returns what it would
// be and the warnings.
func (s *scene) dryRun(t *testing.T, pod *corev1.Pod, namespace string) (*corev1.Pod, []string) {
	t.Helper()
	pod.Namespace = namespace
	defer s.makeOwner(t, pod)()
	ctx, warnings := collectWarnings(t.Context())
	require.NoError(t, s.client.Create(ctx, pod, client.DryRunAll))
	return pod, warnings.texts
}

// makeReal makes the workload, so that its controller makes pods, and compares one of
// them with what admission said before: nil if the pod was to be left alone.
func (s *scene) makeReal(t *testing.T, obj client.Object, want *corev1.Pod) {
	t.Helper()
	if pod, ok := obj.(*corev1.Pod); ok && (len(pod.OwnerReferences) > 0 || pod.Spec.NodeName != "") {
		return // its owner is not here, or the kubelet that would let it go
	}
	template := podOf(obj)
	require.NoError(t, s.cluster.Client.Create(t.Context(), obj))
	made := []corev1.Pod{}
	if pod, ok := obj.(*corev1.Pod); ok {
		made = append(made, *pod)
	} else if makesPods(obj) {
		require.NoError(t, s.cluster.WaitFor(t.Context(), "a pod of "+nameOf(obj), func(ctx context.Context) (err error) {
			made, err = s.podsOf(ctx, obj, template.Labels)
			return err
		}))
	}
	for i := range made {
		if want == nil {
			assert.NotContains(t, made[i].Labels, intent.LabelInjected)
			continue
		}
		assert.Equal(t, oursOf(want), oursOf(&made[i]), "the controller's pod %s", made[i].Name)
	}
}

var errNoPods = errors.New("there are none")

func (s *scene) podsOf(ctx context.Context, obj client.Object, labels map[string]string) ([]corev1.Pod, error) {
	var list corev1.PodList
	if err := s.cluster.Client.List(ctx, &list, client.InNamespace(s.namespace), client.MatchingLabels(templateLabels(obj, labels))); err != nil {
		return nil, err
	}
	if len(list.Items) == 0 {
		return nil, errNoPods
	}
	return list.Items, nil
}

// makesPods reports whether the workload's controller makes pods in this cluster, now.
func makesPods(obj client.Object) bool {
	switch o := obj.(type) {
	case *appsv1.Deployment:
		return o.Spec.Replicas == nil || *o.Spec.Replicas > 0
	case *appsv1.DaemonSet:
		// The node says nothing of its system and has no GPU.
		return o.Spec.Template.Spec.NodeSelector == nil && o.Name != "nvidia-device-plugin"
	case *batchv1.Job:
		return o.Spec.Suspend == nil || !*o.Spec.Suspend
	case *batchv1.CronJob, *corev1.ReplicationController:
		return false // not its hour; the cluster does not run its controller
	default:
		return true
	}
}

// readManifests decodes a file strictly: a slip in a manifest is an error here.
func readManifests(t *testing.T, scheme *runtime.Scheme, file string) []client.Object {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	var objects []client.Object
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		require.NoError(t, err)
		decoded, kind, err := decoder.Decode(doc, nil, nil)
		require.NoError(t, err, "%s:\n%s", file, doc)
		decoded.GetObjectKind().SetGroupVersionKind(*kind)
		obj, ok := decoded.(client.Object)
		require.True(t, ok)
		objects = append(objects, obj)
	}
}

// collector gathers the warnings of one request.
type collector struct {
	mu    sync.Mutex
	texts []string
}

type collectorKey struct{}

func collectWarnings(ctx context.Context) (context.Context, *collector) {
	c := &collector{}
	return context.WithValue(ctx, collectorKey{}, c), c
}

// warningHandler gives warnings to the collector of the request's context.
type warningHandler struct{}

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (warningHandler) HandleWarningHeaderWithContext(ctx context.Context, code int, _, text string) {
	c, ok := ctx.Value(collectorKey{}).(*collector)
	if !ok || code != 299 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.texts = append(c.texts, text)
}

// warningClient returns an administrator's client that tells warnings to collectors.
func warningClient(t *testing.T, c *cluster.Cluster) client.Client {
	t.Helper()
	config := rest.CopyConfig(c.Config)
	config.WarningHandlerWithContext = warningHandler{}
	cl, err := client.New(config, client.Options{Scheme: c.Scheme})
	require.NoError(t, err)
	return cl
}
