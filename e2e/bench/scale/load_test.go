package main

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/intent"
)

// TestEveryWorkloadHasItsService: the first Services select the workload of their number,
// in its namespace, and the rest selects nothing.
func TestEveryWorkloadHasItsService(t *testing.T) {
	opts := &options{workloads: 5, pods: 3, services: 8, namespaces: 2}
	like := &appsv1.Deployment{}
	require.NoError(t, yaml.UnmarshalStrict(deploymentManifest, like))
	selected := map[int][]int{}
	for w := range opts.workloads {
		d := opts.workload(like, w)
		assert.EqualValues(t, 3, *d.Spec.Replicas)
		assert.Equal(t, "server", d.Spec.Template.Annotations[intent.Prefix+"role"])
		for s := range opts.services {
			svc := opts.service(s)
			if svc.Namespace == d.Namespace && labels.SelectorFromSet(svc.Spec.Selector).Matches(labels.Set(d.Spec.Template.Labels)) {
				selected[w] = append(selected[w], s)
			}
		}
		assert.Equal(t, d.Spec.Selector.MatchLabels[nameLabel], d.Spec.Template.Labels[nameLabel])
	}
	assert.Equal(t, map[int][]int{0: {0}, 1: {1}, 2: {2}, 3: {3}, 4: {4}}, selected)
	assert.Equal(t, "scale-1", opts.service(7).Namespace)
	assert.Empty(t, like.Spec.Template.Labels[nameLabel], "what the others are made from stays as it is")
}

func TestInParallel(t *testing.T) {
	var sum atomic.Int64
	require.NoError(t, inParallel(t.Context(), 100, func(_ context.Context, i int) error {
		sum.Add(int64(i))
		return nil
	}))
	assert.EqualValues(t, 4950, sum.Load())

	broken := errors.New("broken")
	err := inParallel(t.Context(), 100, func(ctx context.Context, i int) error {
		if i == 0 {
			return broken
		}
		<-ctx.Done() // the failure of one ends the others
		return ctx.Err()
	})
	assert.Equal(t, broken, err)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, inParallel(ctx, 1, func(context.Context, int) error { return nil }), context.Canceled)
}

func TestOptions(t *testing.T) {
	fine := options{workloads: 1, pods: 1, services: 0, namespaces: 1, restTime: 1}
	require.NoError(t, fine.validate())
	for name, spoil := range map[string]func(*options){
		"no workloads": func(o *options) { o.workloads = 0 }, "no pods": func(o *options) { o.pods = 0 },
		"no namespaces": func(o *options) { o.namespaces = 0 }, "fewer than no Services": func(o *options) { o.services = -1 },
		"no rest": func(o *options) { o.restTime = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			o := fine
			spoil(&o)
			assert.EqualError(t, o.validate(), "there must be workloads, pods, namespaces and time to rest")
		})
	}
}
