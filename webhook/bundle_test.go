package webhook

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func TestBundleMissing(t *testing.T) {
	bundle := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "trust"}}
	for name, tt := range map[string]struct {
		namespace, name string
		want            bool
	}{
		"there":                {"shop", "trust", false},
		"another":              {"shop", "distrust", true},
		"in another namespace": {"bank", "trust", true},
	} {
		t.Run(name, func(t *testing.T) {
			missing, err := newFollowing(t, bundle).BundleMissing(t.Context(), tt.namespace, tt.name)
			require.NoError(t, err)
			assert.Equal(t, tt.want, missing)
		})
	}
}

// TestBundleThatMayNotBeRead: what is not known is not warned of, and the data never comes
// over the wire.
func TestBundleThatMayNotBeRead(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"forbidden": {apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "trust", errors.New("no")), ""},
		"too busy":  {errors.New("too busy"), `reading the metadata of ConfigMap "trust": too busy`},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFollowing(t)
			var asked []client.Object
			f.live = interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
				Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
					asked = append(asked, obj)
					return tt.err
				},
			})
			missing, err := f.BundleMissing(t.Context(), "shop", "trust")
			assert.False(t, missing)
			if tt.want == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, tt.want)
			}
			want := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}}
			assert.Equal(t, []client.Object{want}, asked)
		})
	}
}
