package certs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// podPages stands for the API server: it gives pods two at a time.
type podPages struct {
	client.Reader
	pods  []*corev1.Pod
	asked []string
	// errs has the answer to the n-th request, from 0 on.
	errs map[int]error
}

func (p *podPages) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	options := (&client.ListOptions{}).ApplyOptions(opts)
	request := len(p.asked)
	p.asked = append(p.asked, fmt.Sprintf("%s %s limit %d from %q", options.Namespace, options.LabelSelector, options.Limit, options.Continue))
	found, ok := list.(*corev1.PodList)
	if !ok {
		return fmt.Errorf("%T asked for", list)
	}
	from, _ := strconv.Atoi(options.Continue)
	for i := from; i < len(p.pods) && len(found.Items) < 2; i++ {
		from++
		if pod := p.pods[i]; pod.Namespace == options.Namespace && options.LabelSelector.Matches(labels.Set(pod.Labels)) {
			found.Items = append(found.Items, *pod)
		}
	}
	if from < len(p.pods) {
		found.Continue = strconv.Itoa(from)
	}
	return p.errs[request]
}

// stranger is a pod that admission has not seen.
func stranger(name string, annotations map[string]string, change ...func(*corev1.Pod)) *corev1.Pod {
	pod := annotated(name, annotations)
	delete(pod.Labels, intent.LabelInjected)
	for _, f := range change {
		f(pod)
	}
	return pod
}

// newNamespace has labels, and annotations whose keys are without the prefix.
func newNamespace(name string, labels, annotations map[string]string) *corev1.Namespace {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	for key, value := range annotations {
		metav1.SetMetaDataAnnotation(&ns.ObjectMeta, intent.Prefix+key, value)
	}
	return ns
}

// counting is a counter of the namespace shop, with a registry.
type counting struct {
	*counter
	world    *world
	server   *podPages
	registry *prometheus.Registry
}

func newCounting(t *testing.T, ns *corev1.Namespace, pods ...*corev1.Pod) *counting {
	t.Helper()
	c := &counting{server: &podPages{pods: pods}, registry: prometheus.NewPedanticRegistry(), world: newWorld(t)}
	if ns != nil {
		require.NoError(t, c.world.Create(t.Context(), ns))
	}
	var err error
	c.counter, err = newCounter(c.world, c.server, intent.BuiltinDefaults)
	require.NoError(t, err)
	c.now = func() time.Time { return time.Unix(1000, 0) }
	c.figures.setLeading(true)
	require.NoError(t, c.registry.Register(c.figures))
	return c
}

func (c *counting) look(t *testing.T) ctrl.Result {
	t.Helper()
	result, err := c.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Name: namespace}})
	require.NoError(t, err)
	return result
}

// tells asserts all series.
func (c *counting) tells(t *testing.T, want ...string) {
	t.Helper()
	families, err := c.registry.Gather()
	require.NoError(t, err)
	var got []string
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			series := family.GetName()
			for _, pair := range metric.GetLabel() {
				series += "{" + pair.GetName() + "=" + pair.GetValue() + "}"
			}
			got = append(got, fmt.Sprintf("%s %g", strings.TrimPrefix(series, "mtls_injector_"), metric.GetGauge().GetValue()))
		}
	}
	assert.Equal(t, want, got)
}

var optedIn = map[string]string{intent.LabelEnabled: "true"}

func TestWhichPodsAreNotInjected(t *testing.T) {
	windows := func(pod *corev1.Pod) { pod.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }
	inPhase := func(phase corev1.PodPhase) func(*corev1.Pod) {
		return func(pod *corev1.Pod) { pod.Status.Phase = phase }
	}
	for name, test := range map[string]struct {
		namespace map[string]string
		pod       *corev1.Pod
		want      int
	}{
		"a role of its own":           {nil, stranger("a", server), 1},
		"its namespace's role":        {server, stranger("a", nil), 1},
		"still pending":               {server, stranger("a", nil, inPhase(corev1.PodPending)), 1},
		"would be refused":            {nil, stranger("a", map[string]string{"role": "servant"}), 1},
		"would be refused by another": {server, stranger("a", map[string]string{"service": "none"}), 1},
		"would be refused for a word": {nil, stranger("a", map[string]string{"roll": "server"}), 1},
		"labelled, but not injected":  {server, stranger("a", nil, func(pod *corev1.Pod) { pod.Labels[intent.LabelInjected] = "false" }), 1},
		"injected":                    {server, annotated("a", server), 0},
		"no role":                     {nil, stranger("a", nil), 0},
		"no role, but words":          {nil, stranger("a", map[string]string{"env": "curl"}), 0},
		"opts out":                    {server, stranger("a", map[string]string{"role": "none"}), 0},
		"namespace of none":           {map[string]string{"role": "none"}, stranger("a", nil), 0},
		"on Windows":                  {server, stranger("a", nil, windows), 0},
		"a mirror":                    {server, stranger("a", nil, func(pod *corev1.Pod) { pod.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }), 0},
		"has ended":                   {server, stranger("a", nil, inPhase(corev1.PodSucceeded)), 0},
		"has failed":                  {server, stranger("a", nil, inPhase(corev1.PodFailed)), 0},
		"is being deleted":            {server, stranger("a", nil, func(pod *corev1.Pod) { pod.DeletionTimestamp = at(1) }), 0},
		"of another namespace":        {server, stranger("a", nil, func(pod *corev1.Pod) { pod.Namespace = "elsewhere" }), 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCounting(t, newNamespace(namespace, optedIn, test.namespace), test.pod)
			assert.Equal(t, ctrl.Result{RequeueAfter: countEvery}, c.look(t))
			const last = "pods_not_injected_last_check_timestamp_seconds 1000"
			if test.want == 0 {
				c.tells(t, last)
				return
			}
			c.tells(t, fmt.Sprintf("pods_not_injected{namespace=shop} %d", test.want), last)
		})
	}
}

func TestPodsAreCountedPageByPage(t *testing.T) {
	var pods []*corev1.Pod
	for i := range 5 {
		pods = append(pods, stranger("a-"+strconv.Itoa(i), nil))
	}
	c := newCounting(t, newNamespace(namespace, optedIn, server), pods...)
	c.look(t)
	c.tells(t, "pods_not_injected{namespace=shop} 5", "pods_not_injected_last_check_timestamp_seconds 1000")
	const list = "shop mtls.example.io/injected!=true limit 500 from "
	assert.Equal(t, []string{list + `""`, list + `"2"`, list + `"4"`}, c.server.asked)
}

// TestCountFails: the old figure stays, and says how old it is.
func TestCountFails(t *testing.T) {
	c := newCounting(t, newNamespace(namespace, optedIn, server), stranger("a", nil), stranger("b", nil), stranger("c", nil))
	c.look(t)
	c.now = func() time.Time { return time.Unix(2000, 0) }
	c.server.pods = c.server.pods[:2]
	c.server.errs = map[int]error{2: errors.New("oops")}
	request := ctrl.Request{NamespacedName: client.ObjectKey{Name: namespace}}
	_, err := c.Reconcile(t.Context(), request)
	require.EqualError(t, err, "list pods that are not injected: oops")
	c.tells(t, "pods_not_injected{namespace=shop} 3", "pods_not_injected_last_check_timestamp_seconds 1000")

	c.world.refuseGet = func(client.Object, client.ObjectKey) error { return errForbidden }
	_, err = c.Reconcile(t.Context(), request)
	require.EqualError(t, err, `read the Namespace: things "x" is forbidden: no`)
	c.world.refuseGet = nil

	c.look(t)
	c.tells(t, "pods_not_injected{namespace=shop} 2", "pods_not_injected_last_check_timestamp_seconds 2000")
	c.server.pods = nil
	c.look(t)
	c.tells(t, "pods_not_injected_last_check_timestamp_seconds 2000")
}

// TestCountIsForgotten with what made the namespace one of ours.
func TestCountIsForgotten(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *counting){
		"the Namespace is deleted": func(t *testing.T, c *counting) {
			t.Helper()
			require.NoError(t, c.world.Delete(t.Context(), newNamespace(namespace, nil, nil)))
		},
		"it is no longer opted in": func(t *testing.T, c *counting) {
			t.Helper()
			require.NoError(t, c.world.Update(t.Context(), newNamespace(namespace, nil, server)))
		},
		"by another configuration": func(_ *testing.T, c *counting) {
			c.defaults = func() *intent.Defaults {
				d := intent.BuiltinDefaults()
				d.Namespaces = labels.SelectorFromSet(labels.Set{"mtls": "yes"})
				return d
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCounting(t, newNamespace(namespace, optedIn, server), stranger("a", nil))
			c.look(t)
			c.tells(t, "pods_not_injected{namespace=shop} 1", "pods_not_injected_last_check_timestamp_seconds 1000")
			asked := len(c.server.asked)
			end(t, c)
			assert.Equal(t, ctrl.Result{}, c.look(t), "nothing to come back for")
			c.tells(t)
			assert.Len(t, c.server.asked, asked, "nobody is asked")
		})
	}
}

// TestFiguresAreTheLeaders: another process has nothing to say.
func TestFiguresAreTheLeaders(t *testing.T) {
	f := newFigures()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(f))
	tells := func(want int) {
		t.Helper()
		n, err := testutil.GatherAndCount(registry)
		require.NoError(t, err)
		assert.Equal(t, want, n)
	}
	f.put("shop", figure{pods: 3, at: time.Unix(2, 0)})
	tells(0)
	f.setLeading(true)
	tells(2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, f.lead(ctx))
	tells(0)
}

func TestFigures(t *testing.T) {
	f := newFigures()
	f.setLeading(true)
	f.put("bank", figure{pods: 7, at: time.Unix(5, 0)})
	f.put("shop", figure{pods: 0, at: time.Unix(3, 0)})
	f.put("zoo", figure{pods: 1, at: time.Unix(4, 0)})
	require.NoError(t, testutil.CollectAndCompare(f, strings.NewReader(`
# HELP mtls_injector_pods_not_injected Pods in opted-in namespaces that should be injected and are not: older than the webhook or what opts them in, or let through by failurePolicy Ignore. Namespaces without any have no series.
# TYPE mtls_injector_pods_not_injected gauge
mtls_injector_pods_not_injected{namespace="bank"} 7
mtls_injector_pods_not_injected{namespace="zoo"} 1
# HELP mtls_injector_pods_not_injected_last_check_timestamp_seconds When the pods of that opted-in namespace were counted whose count is the oldest, in seconds since the epoch.
# TYPE mtls_injector_pods_not_injected_last_check_timestamp_seconds gauge
mtls_injector_pods_not_injected_last_check_timestamp_seconds 3
`)))
}

// TestAllNamespacesAreCountedAgain when the configuration has changed.
func TestAllNamespacesAreCountedAgain(t *testing.T) {
	c := newCounting(t, newNamespace(namespace, nil, nil))
	require.NoError(t, c.world.Create(t.Context(), newNamespace("bank", optedIn, nil)))
	assert.ElementsMatch(t, []string{"/shop", "/bank"}, names(c.all(t.Context(), nil)))
	c.world.refuseList = func(client.ObjectList) error { return errForbidden }
	assert.Empty(t, c.all(t.Context(), nil))
}
