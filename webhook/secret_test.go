package webhook

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func TestSecretTaken(t *testing.T) {
	ours := metav1.ObjectMeta{
		Namespace: "shop", Name: "web-mtls",
		Labels:      map[string]string{"cert-type": "mtls", "app.kubernetes.io/managed-by": "mtls-injector"},
		Annotations: map[string]string{"cert-manager.io/certificate-name": "web-mtls"},
	}
	foreign := metav1.ObjectMeta{Namespace: "shop", Name: "web-mtls", Labels: ours.Labels}
	elsewhere := metav1.ObjectMeta{Namespace: "bank", Name: "web-mtls"}
	for name, tt := range map[string]struct {
		secrets []metav1.ObjectMeta
		want    bool
	}{
		"no Secret":             {nil, false},
		"the companion's":       {[]metav1.ObjectMeta{ours}, false},
		"somebody else's":       {[]metav1.ObjectMeta{foreign}, true},
		"in another namespace":  {[]metav1.ObjectMeta{elsewhere}, false},
		"ours, not another's":   {[]metav1.ObjectMeta{ours, elsewhere}, false},
		"theirs, whatever else": {[]metav1.ObjectMeta{foreign, elsewhere}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var live []client.Object
			for _, meta := range tt.secrets {
				live = append(live, &corev1.Secret{ObjectMeta: meta, Data: map[string][]byte{"tls.key": []byte("secret")}})
			}
			taken, err := newFollowing(t, live...).SecretTaken(t.Context(), "shop", "web-mtls")
			require.NoError(t, err)
			assert.Equal(t, tt.want, taken)
		})
	}
}

// TestSecretTakenReadsMetadata: the data never comes over the wire.
func TestSecretTakenReadsMetadata(t *testing.T) {
	f := newFollowing(t)
	var asked []client.Object
	f.live = interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
			asked = append(asked, obj)
			return errors.New("too busy")
		},
	})
	taken, err := f.SecretTaken(t.Context(), "shop", "web-mtls")
	require.EqualError(t, err, `reading the metadata of Secret "web-mtls": too busy`)
	assert.False(t, taken)
	want := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}}
	assert.Equal(t, []client.Object{want}, asked)
}
