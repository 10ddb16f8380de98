package servingcert

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// stage is a keeper before a cluster that holds what the test says. Its informers do not
// run: the test says what they have seen.
type stage struct {
	*scene
	*keeper
	cluster *fake.Clientset
}

func newStage(t *testing.T, objects ...runtime.Object) *stage {
	t.Helper()
	s := &stage{scene: newScene(t), cluster: fake.NewClientset(objects...)}
	opts := Options{SecretNamespace: "mtls", SecretName: "ca", ConfigurationName: "mtls-injector", Log: logr.Discard()}
	s.keeper = newKeeper(s.cluster, opts, s.scene.trust)
	s.sync()
	return s
}

// sync lets the informers see what is in the cluster.
func (s *stage) sync() {
	ctx := s.Context()
	secrets, err := s.cluster.CoreV1().Secrets("mtls").List(ctx, metav1.ListOptions{})
	require.NoError(s, err)
	mutating, err := s.cluster.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	require.NoError(s, err)
	validating, err := s.cluster.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	require.NoError(s, err)
	for i, objects := range [][]any{pointers(secrets.Items), pointers(mutating.Items), pointers(validating.Items)} {
		require.NoError(s, s.watched[i].GetStore().Replace(objects, ""))
	}
}

func pointers[T any](items []T) []any {
	var all []any
	for i := range items {
		all = append(all, &items[i])
	}
	return all
}

func secretOf(ca *testCA) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "mtls", Name: "ca"}, Data: map[string][]byte{corev1.TLSCertKey: pemOf(ca), corev1.TLSPrivateKeyKey: []byte("key")}}
}

func mutatingOf(bundles ...[]byte) *admissionv1.MutatingWebhookConfiguration {
	object := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "mtls-injector", ResourceVersion: "7", Labels: map[string]string{"a": "b"}}}
	for i, bundle := range bundles {
		object.Webhooks = append(object.Webhooks, admissionv1.MutatingWebhook{
			Name: string(rune('a'+i)) + ".example.io", TimeoutSeconds: new(int32(9)),
			ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "mtls", Name: "injector"}, CABundle: bundle},
		})
	}
	return object
}

func validatingOf(bundles ...[]byte) *admissionv1.ValidatingWebhookConfiguration {
	object := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "mtls-injector", ResourceVersion: "8"}}
	for i, bundle := range bundles {
		object.Webhooks = append(object.Webhooks, admissionv1.ValidatingWebhook{Name: string(rune('v'+i)) + ".example.io", ClientConfig: admissionv1.WebhookClientConfig{CABundle: bundle}})
	}
	return object
}

// patched returns what was patched, and how.
func (s *stage) patched() []string {
	var all []string
	for _, action := range s.cluster.Actions() {
		if patch, ok := action.(clienttesting.PatchActionImpl); ok {
			assert.Equal(s, "mtls-injector-serving-cert", patch.PatchOptions.FieldManager)
			all = append(all, patch.GetResource().Resource+"/"+patch.GetName())
		}
	}
	s.cluster.ClearActions()
	return all
}

// wants compares the cluster with what should have become of it.
func (s *stage) wants(objects ...runtime.Object) {
	s.Helper()
	for _, want := range objects {
		var got runtime.Object
		var err error
		switch want.(type) {
		case *admissionv1.MutatingWebhookConfiguration:
			got, err = s.cluster.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(s.Context(), "mtls-injector", metav1.GetOptions{})
		case *admissionv1.ValidatingWebhookConfiguration:
			got, err = s.cluster.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(s.Context(), "mtls-injector", metav1.GetOptions{})
		}
		require.NoError(s, err)
		assert.Empty(s, cmp.Diff(want, got, cmpopts.IgnoreFields(metav1.ObjectMeta{}, "ManagedFields")))
	}
}

const (
	mutatingPatch   = "mutatingwebhookconfigurations/mtls-injector"
	validatingPatch = "validatingwebhookconfigurations/mtls-injector"
)

// TestKeep: every caBundle becomes right, nothing else changes, and what is right is left.
func TestKeep(t *testing.T) {
	ca, foreign := newCA(t, start), []byte("not ours")
	for name, tt := range map[string]struct {
		have, want []runtime.Object
		patched    []string
	}{
		"both":                {[]runtime.Object{mutatingOf(nil, foreign), validatingOf(nil, nil)}, []runtime.Object{mutatingOf(pemOf(ca), pemOf(ca)), validatingOf(pemOf(ca), pemOf(ca))}, []string{mutatingPatch, validatingPatch}},
		"one webhook of two":  {[]runtime.Object{mutatingOf(pemOf(ca), nil), validatingOf(pemOf(ca))}, []runtime.Object{mutatingOf(pemOf(ca), pemOf(ca)), validatingOf(pemOf(ca))}, []string{mutatingPatch}},
		"no mutating one":     {[]runtime.Object{validatingOf(nil)}, []runtime.Object{validatingOf(pemOf(ca))}, []string{validatingPatch}},
		"no validating one":   {[]runtime.Object{mutatingOf(nil)}, []runtime.Object{mutatingOf(pemOf(ca))}, []string{mutatingPatch}},
		"neither":             {nil, nil, nil},
		"no webhooks in them": {[]runtime.Object{mutatingOf(), validatingOf()}, []runtime.Object{mutatingOf(), validatingOf()}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, append(tt.have, secretOf(ca))...)
			require.NoError(t, s.keep(t.Context()))
			assert.Equal(t, tt.patched, s.patched())
			s.wants(tt.want...)
			s.sync()
			require.NoError(t, s.keep(t.Context()))
			assert.Empty(t, s.patched(), "it is right")
		})
	}
}

// TestKeepRotation follows a rotation: the new CA comes beside the old one, the certificate
// changes, and the old CA goes.
func TestKeepRotation(t *testing.T) {
	s := newStage(t, mutatingOf(nil), validatingOf(nil))
	step := func(want ...*testCA) {
		t.Helper()
		s.sync()
		require.NoError(t, s.keep(t.Context()))
		s.wants(mutatingOf(pemOf(want...)), validatingOf(pemOf(want...)))
		s.sync()
		require.NoError(t, s.keep(t.Context()))
	}
	_, err := s.cluster.CoreV1().Secrets("mtls").Create(t.Context(), secretOf(s.old), metav1.CreateOptions{})
	require.NoError(t, err)
	step(s.old)
	s.serves(s.old, s.old)
	s.pass(time.Hour / 2)
	step(s.old)

	require.NoError(t, s.cluster.CoreV1().Secrets("mtls").Delete(t.Context(), "ca", metav1.DeleteOptions{}))
	step(s.old)
	_, err = s.cluster.CoreV1().Secrets("mtls").Create(t.Context(), secretOf(s.new), metav1.CreateOptions{})
	require.NoError(t, err)
	step(s.new, s.old)
	s.serves(s.new, s.old)
	s.pass(10 * time.Second)
	s.serves(s.new, s.new)
	step(s.new, s.old)
	s.pass(10*time.Minute - 10*time.Second - 1)
	step(s.new, s.old)
	s.pass(1)
	step(s.new)
}

// TestKeepOverwritten: what somebody has put in place of the caBundle while the CA rotates
// is replaced by both CAs.
func TestKeepOverwritten(t *testing.T) {
	s := newStage(t, mutatingOf(nil))
	s.see(s.old, bundle{s.old})
	s.serves(s.old, s.old)
	_, err := s.cluster.CoreV1().Secrets("mtls").Create(t.Context(), secretOf(s.new), metav1.CreateOptions{})
	require.NoError(t, err)
	s.sync()
	require.NoError(t, s.keep(t.Context()))
	s.wants(mutatingOf(pemOf(s.new, s.old)))
	assert.NotNil(t, s.choose(s.leaf(s.new)))
}

// TestKeepLate: a replica whose watch is late leaves what others have done since.
func TestKeepLate(t *testing.T) {
	s := newStage(t, secretOf(newCA(t, start)), mutatingOf(nil))
	_, err := s.cluster.CoreV1().Secrets("mtls").Update(t.Context(), secretOf(s.new), metav1.UpdateOptions{})
	require.NoError(t, err)
	now := mutatingOf(pemOf(s.new, s.old))
	_, err = s.cluster.AdmissionregistrationV1().MutatingWebhookConfigurations().Update(t.Context(), now, metav1.UpdateOptions{})
	require.NoError(t, err)
	require.NoError(t, s.keep(t.Context()))
	assert.Empty(t, s.patched())

	require.NoError(t, s.cluster.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(t.Context(), "mtls-injector", metav1.DeleteOptions{}))
	require.NoError(t, s.keep(t.Context()), "or that it is gone")
	require.NoError(t, s.cluster.CoreV1().Secrets("mtls").Delete(t.Context(), "ca", metav1.DeleteOptions{}))
	require.NoError(t, s.keep(t.Context()), "or the Secret")
}

func TestKeepFails(t *testing.T) {
	stranger := secretOf(newCA(t, start))
	stranger.Data[corev1.TLSCertKey] = pemOf(&testCA{Certificate: newCA(t, start).sign(t, start).Leaf})
	group := schema.GroupResource{Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations"}
	for name, tt := range map[string]struct {
		secret    *corev1.Secret
		verb      string
		resources string
		err       error
		want      string
	}{
		"no Secret yet":     {nil, "", "", nil, ""},
		"an empty Secret":   {&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "mtls", Name: "ca"}}, "", "", nil, ""},
		"another's Secret":  {stranger, "", "", nil, `the CA in Secret mtls/ca was not made by this program; delete the Secret, so that one is made: the subject is "", not "CN=mtls-injector-webhook-ca"`},
		"no Secret read":    {secretOf(newCA(t, start)), "get", "secrets", errors.New("oops"), "reading Secret mtls/ca: oops"},
		"nothing read":      {secretOf(newCA(t, start)), "get", group.Resource, errors.New("oops"), "MutatingWebhookConfiguration: oops"},
		"nothing written":   {secretOf(newCA(t, start)), "patch", group.Resource, errors.New("oops"), "MutatingWebhookConfiguration: oops"},
		"nothing at all":    {secretOf(newCA(t, start)), "patch", "*", errors.New("oops"), "MutatingWebhookConfiguration: oops\nValidatingWebhookConfiguration: oops"},
		"written by others": {secretOf(newCA(t, start)), "patch", "*", apierrors.NewConflict(group, "mtls-injector", errors.New("oops")), ""},
		"just deleted":      {secretOf(newCA(t, start)), "patch", "*", apierrors.NewNotFound(group, "mtls-injector"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			objects := []runtime.Object{mutatingOf(nil), validatingOf(nil)}
			if tt.secret != nil {
				objects = append(objects, tt.secret)
			}
			s := newStage(t, objects...)
			s.cluster.PrependReactor(tt.verb, tt.resources, func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, tt.err })
			err := s.keep(t.Context())
			if tt.want == "" {
				assert.NoError(t, err)
			} else {
				assert.EqualError(t, err, tt.want)
			}
			s.cluster.ReactionChain = s.cluster.ReactionChain[1:]
			s.wants(mutatingOf(nil))
		})
	}
}

// TestPatch is what the API server gets: the version, and the caBundles that are wrong.
func TestPatch(t *testing.T) {
	c := readMutating(mutatingOf([]byte("right"), []byte("wrong"), nil))
	patch, err := c.patch(func([]byte) []byte { return []byte("right") })
	require.NoError(t, err)
	assert.JSONEq(t, `[
		{"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
		{"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": "cmlnaHQ="},
		{"op": "add", "path": "/webhooks/2/clientConfig/caBundle", "value": "cmlnaHQ="}
	]`, string(patch))
	patch, err = c.patch(func(bundle []byte) []byte { return bundle })
	require.NoError(t, err)
	assert.Nil(t, patch)
}

// TestWithoutKey: the CA's key is not kept in this cache.
func TestWithoutKey(t *testing.T) {
	ca := newCA(t, start)
	slim, err := withoutKey(secretOf(ca))
	require.NoError(t, err)
	text, err := json.Marshal(slim)
	require.NoError(t, err)
	assert.NotContains(t, string(text), corev1.TLSPrivateKeyKey)
	assert.Equal(t, map[string][]byte{corev1.TLSCertKey: pemOf(ca)}, slim.(*corev1.Secret).Data)
	other, err := withoutKey(&corev1.Pod{})
	require.NoError(t, err)
	assert.Equal(t, &corev1.Pod{}, other)
}

// TestRun: the keeper repairs what changes until it is told to stop, and outlives failures.
func TestRun(t *testing.T) {
	ca := newCA(t, time.Now().Add(-time.Hour))
	cluster := fake.NewClientset(secretOf(ca), mutatingOf(nil))
	failed := make(chan struct{}, 1)
	failures := 1
	cluster.PrependReactor("patch", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		failures--
		return failures >= 0, nil, errors.New("oops")
	})
	log := funcr.New(func(_, text string) {
		if text == `"msg"="keep the caBundle right" "error"="MutatingWebhookConfiguration: oops" "again in"="1s"` {
			failed <- struct{}{}
		}
	}, funcr.Options{})
	trust := &trust{grace: grace, overlap: overlap, now: time.Now}
	k := newKeeper(cluster, Options{SecretNamespace: "mtls", SecretName: "ca", ConfigurationName: "mtls-injector", Log: log}, trust)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.run(ctx) }()
	configurations := cluster.AdmissionregistrationV1().MutatingWebhookConfigurations()
	right := func() bool {
		got, err := configurations.Get(t.Context(), "mtls-injector", metav1.GetOptions{})
		require.NoError(t, err)
		return string(got.Webhooks[0].ClientConfig.CABundle) == string(pemOf(ca))
	}
	<-failed
	require.Eventually(t, right, 30*time.Second, time.Millisecond)
	_, err := configurations.Update(t.Context(), mutatingOf([]byte("overwritten")), metav1.UpdateOptions{})
	require.NoError(t, err)
	require.Eventually(t, right, 30*time.Second, time.Millisecond)
	stop()
	assert.NoError(t, <-ended)
}
