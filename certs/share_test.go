package certs

import (
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestSharingChangesNothing: with the sharer, random pods, many of one owner, come out as
// without it, and those that came before stay as they were.
func TestSharingChangesNothing(t *testing.T) {
	s := newSharer()
	type pair struct{ with, without *corev1.Pod }
	var pairs []pair
	for seed := range uint64(200) {
		pod := randomPod(rand.New(rand.NewPCG(seed/2, 7))) // each twice
		pod.Name = "pod-" + strconv.FormatUint(seed, 10)
		for i := range pod.OwnerReferences {
			pod.OwnerReferences[i].UID = types.UID("owner-" + strconv.FormatUint(seed%5, 10))
			pod.OwnerReferences[i].Controller = new(i == 0)
		}
		without, err := slimPod(pod.DeepCopy())
		require.NoError(t, err)
		with, err := s.slimPod(pod.DeepCopy())
		require.NoError(t, err)
		pairs = append(pairs, pair{with.(*corev1.Pod), without.(*corev1.Pod)}) //nolint:forcetypeassert // fails the test
	}
	for _, p := range pairs {
		if diff := cmp.Diff(p.without, p.with); diff != "" {
			t.Fatalf("%s: without -, with +:\n%s", p.with.Name, diff)
		}
	}
}

func TestPodsOfOneOwnerShare(t *testing.T) {
	s := newSharer()
	slim := func(name string) *corev1.Pod {
		kept, err := s.slimPod(deployed(name, "5d9", server))
		require.NoError(t, err)
		pod, ok := kept.(*corev1.Pod)
		require.True(t, ok)
		return pod
	}
	a, b := slim("web-5d9-a"), slim("web-5d9-b")
	assert.Equal(t, "web-5d9-a", a.Name)
	assert.Equal(t, "web-5d9-b", b.Name)
	assert.Equal(t, unsafe.SliceData(a.Spec.Containers), unsafe.SliceData(b.Spec.Containers))
	assert.Equal(t, unsafe.SliceData(a.OwnerReferences), unsafe.SliceData(b.OwnerReferences))
	a.Labels["shared"] = "yes"
	assert.Equal(t, "yes", b.Labels["shared"])
	runtime.KeepAlive(a)
}

// TestSharerForgets owners whose pods are gone.
func TestSharerForgets(t *testing.T) {
	s := newSharer()
	for i := range 3 * fewOwners {
		s.share(&corev1.Pod{}, types.UID(strconv.Itoa(i)))
		if i%fewOwners == 0 {
			runtime.GC()
		}
	}
	assert.Less(t, len(s.last), 3*fewOwners)
	kept := &corev1.Pod{}
	s.share(kept, "kept")
	runtime.GC()
	assert.Same(t, kept, s.last["kept"].Value())
	foreign, err := s.slimPod("no pod")
	require.NoError(t, err)
	assert.Equal(t, "no pod", foreign)
}
