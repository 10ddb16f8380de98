package injector_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/injector"
)

// BenchmarkPatch shows the mutation alone, and with the document of the response.
func BenchmarkPatch(b *testing.B) {
	raw := readPod(b, "bench", nil)
	pod := decode(b, raw)
	in := resolve(b, defaults(), pod)
	first := injector.Patch(pod, in)
	require.NotEmpty(b, first.Operations)
	again := decode(b, apply(b, raw, &first))

	b.Run("injected", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			injector.Patch(pod, in)
		}
	})
	b.Run("injected-and-encoded", func(b *testing.B) {
		b.ReportAllocs()
		buffer := make([]byte, 0, 8192)
		for b.Loop() {
			result := injector.Patch(pod, in)
			document, err := injector.AppendJSON(buffer, result.Operations)
			if err != nil || len(document) == 0 {
				b.Fatal(err)
			}
		}
	})
	b.Run("already-injected", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if result := injector.Patch(again, in); len(result.Operations) > 0 {
				b.Fatal("operations for a pod that has everything")
			}
		}
	})
}

// TestAllocations pins what the API server waits for: an injection stays well below what
// one decode allocates, and a pod that has everything costs next to nothing.
func TestAllocations(t *testing.T) {
	raw := readPod(t, "bench", nil)
	pod := decode(t, raw)
	in := resolve(t, defaults(), pod)
	first := injector.Patch(pod, in)
	again := decode(t, apply(t, raw, &first))
	buffer := make([]byte, 0, 8192)
	injected := testing.AllocsPerRun(100, func() {
		result := injector.Patch(pod, in)
		if _, err := injector.AppendJSON(buffer, result.Operations); err != nil {
			t.Error(err)
		}
	})
	assert.LessOrEqual(t, injected, 12.0)
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { injector.Patch(again, in) }), 5.0)
}
