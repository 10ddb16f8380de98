package intent_test

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/randfill"

	"example.io/mtls-injector/intent"
)

// TestPodOfKeepsWhatDecodingKeeps fills pods at random: converting one must give what
// decoding its JSON gives, for those are the two ways into a decision. A field that is
// added to Pod and forgotten in PodOf fails here.
func TestPodOfKeepsWhatDecodingKeeps(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		fill := randfill.NewWithSeed(int64(random.Uint64()>>1)).NilChance(0.2).NumElements(1, 3).MaxDepth(12)
		pod := &corev1.Pod{}
		fill.Fill(&pod.ObjectMeta)
		fill.Fill(&pod.Spec)
		pod.ManagedFields = nil // holds raw JSON, which random bytes are not

		raw, err := json.Marshal(pod)
		require.NoError(t, err)
		typed, decoded := &corev1.Pod{}, &intent.Pod{}
		require.NoError(t, json.Unmarshal(raw, typed))
		require.NoError(t, json.Unmarshal(raw, decoded))

		if diff := cmp.Diff(decoded, intent.PodOf(typed)); diff != "" {
			t.Fatalf("seed %d: decoded -, converted +:\n%s", seed, diff)
		}
	}
}

func TestPodOfKeepsNilNil(t *testing.T) {
	assert.Equal(t, &intent.Pod{}, intent.PodOf(&corev1.Pod{}))
}

func TestPodOfTakesAMissingControllerFlagAsFalse(t *testing.T) {
	raw := `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"n","uid":"u"}]}}`
	pod := &corev1.Pod{}
	require.NoError(t, json.Unmarshal([]byte(raw), pod))
	want := []intent.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n", UID: "u"}}
	assert.Equal(t, want, intent.PodOf(pod).Metadata.OwnerReferences)
}
