package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/intent"
)

const (
	// servingName is of the webhook configurations, servingSecret of the CA's Secret.
	servingName   = "serving-cert"
	servingSecret = "serving-cert-ca"
)

// selfManaged are two replicas that make their own certificates. The API server calls the
// first.
type selfManaged struct {
	*testing.T
	// namespace has the CA's Secret, pods are made in another.
	namespace, pods string
	replicas        []*cluster.Webhook
}

func newSelfManaged(t *testing.T) *selfManaged {
	t.Helper()
	namespace, err := shared.CreateNamespace(t.Context(), "serving-", nil, nil)
	require.NoError(t, err)
	s := &selfManaged{T: t, namespace: namespace.Name, pods: clustertest.Namespace(t, shared, map[string]string{intent.Prefix + "role": "client"})}
	s.grant()
	args := []string{"--serving-cert-secret-namespace", s.namespace, "--serving-cert-secret-name", servingSecret}
	s.replicas = append(s.replicas, runWebhook(t, shared, cluster.WebhookOptions{Name: servingName, SelfManaged: true, Args: args}))
	s.replicas = append(s.replicas, runWebhook(t, shared, cluster.WebhookOptions{
		Name: servingName + "-2", SelfManaged: true, Unregistered: true, Args: append(args, "--webhook-configuration-name", servingName),
	}))
	return s
}

// grant gives the injector's user the rights that this mode needs besides the others.
func (s *selfManaged) grant() {
	s.Helper()
	meta := metav1.ObjectMeta{Name: "self-managed-serving-cert", Namespace: s.namespace}
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "mtls-injector"}}
	create := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}}
	keep := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{servingSecret}, Verbs: []string{"get", "list", "watch", "update"}}
	trust := rbacv1.PolicyRule{
		APIGroups: []string{admissionv1.GroupName}, Resources: []string{"mutatingwebhookconfigurations", "validatingwebhookconfigurations"},
		ResourceNames: []string{servingName}, Verbs: []string{"get", "list", "watch", "patch"},
	}
	cluster := metav1.ObjectMeta{Name: meta.Name}
	for _, object := range []client.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{create, keep}},
		&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name}, Subjects: subjects},
		&rbacv1.ClusterRole{ObjectMeta: cluster, Rules: []rbacv1.PolicyRule{trust}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: cluster, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name}, Subjects: subjects},
	} {
		require.NoError(s, shared.Client.Create(s.Context(), object))
		s.Cleanup(func() { require.NoError(s, shared.Client.Delete(context.Background(), object)) })
	}
}

// admit makes a pod as a dry run, and wants it injected.
func (s *selfManaged) admit(ctx context.Context) error {
	pod := podWith(s.pods, nil)
	if err := shared.Client.Create(ctx, pod, client.DryRunAll); err != nil {
		return err
	}
	if pod.Labels[intent.LabelInjected] != "true" {
		return errors.New("the pod is not injected")
	}
	return nil
}

// configurations returns both webhook configurations, and all of their caBundles.
func (s *selfManaged) configurations(ctx context.Context) (*admissionv1.MutatingWebhookConfiguration, *admissionv1.ValidatingWebhookConfiguration, [][]byte, error) {
	mutating, validating := new(admissionv1.MutatingWebhookConfiguration), new(admissionv1.ValidatingWebhookConfiguration)
	key := client.ObjectKey{Name: servingName}
	err := errors.Join(shared.Client.Get(ctx, key, mutating), shared.Client.Get(ctx, key, validating))
	var bundles [][]byte
	for i := range mutating.Webhooks {
		bundles = append(bundles, mutating.Webhooks[i].ClientConfig.CABundle)
	}
	for i := range validating.Webhooks {
		bundles = append(bundles, validating.Webhooks[i].ClientConfig.CABundle)
	}
	return mutating, validating, bundles, err
}

// bundle returns the caBundle, which must be the same everywhere.
func (s *selfManaged) bundle(ctx context.Context) ([]byte, error) {
	_, _, bundles, err := s.configurations(ctx)
	if err != nil {
		return nil, err
	}
	return bundles[0], agree(bundles)
}

// agree wants all caBundles to be the same.
func agree(bundles [][]byte) error {
	for _, bundle := range bundles {
		if len(bundle) == 0 || !bytes.Equal(bundle, bundles[0]) {
			return fmt.Errorf("the caBundles differ: %q", bundles)
		}
	}
	return nil
}

// serial returns the serial number of the CA of the certificate that a replica serves, and
// an error when the given PEM bundle does not verify it.
func serial(ctx context.Context, w *cluster.Webhook, roots []byte) (string, error) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	address, err := url.Parse(w.URL)
	if err != nil {
		return "", err
	}
	conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: "localhost"}}).DialContext(ctx, "tcp", address.Host)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	chain := conn.(*tls.Conn).ConnectionState().VerifiedChains[0]
	return chain[len(chain)-1].SerialNumber.String(), nil
}

// secretCA returns the CA in the Secret.
func (s *selfManaged) secretCA(ctx context.Context) (*corev1.Secret, *x509.Certificate, error) {
	secret := new(corev1.Secret)
	if err := shared.Client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: servingSecret}, secret); err != nil {
		return nil, nil, err
	}
	certs, err := certutil.ParseCertsPEM(secret.Data[corev1.TLSCertKey])
	if err != nil {
		return nil, nil, err
	}
	return secret, certs[0], nil
}

// TestServingCertificate: the webhook makes its own certificate and makes the API server
// trust it, whoever overwrites the caBundle; and when its CA is replaced, not one pod is
// refused.
func TestServingCertificate(t *testing.T) {
	s := newSelfManaged(t)
	require.NoError(t, shared.WaitFor(t.Context(), "the first pod", s.admit))
	t.Run("made", s.made)
	t.Run("repaired", s.repaired)
	t.Run("applied", s.applied)
	t.Run("rotated", s.rotated)
}

// made: what is there after the start.
func (s *selfManaged) made(t *testing.T) {
	secret, ca, err := s.secretCA(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "CN=mtls-injector-webhook-ca", ca.Subject.String())
	assert.Equal(t, "mtls-injector", secret.Labels["app.kubernetes.io/managed-by"])
	mutating, _, _, err := s.configurations(t.Context())
	require.NoError(t, err)
	bundle, err := s.bundle(t.Context())
	require.NoError(t, err)
	assert.Equal(t, string(secret.Data[corev1.TLSCertKey]), string(bundle))
	managers := map[string]bool{}
	for _, entry := range mutating.ManagedFields {
		managers[entry.Manager] = true
		if entry.Manager == "mtls-injector-serving-cert" {
			name := mutating.Webhooks[0].Name
			assert.JSONEq(t, `{"f:webhooks":{"k:{\"name\":\"`+name+`\"}":{"f:clientConfig":{"f:caBundle":{}}}}}`, string(entry.FieldsV1.GetRawBytes()))
		}
	}
	assert.True(t, managers["mtls-injector-serving-cert"], managers)
	for _, w := range s.replicas {
		_, err := serial(t.Context(), w, bundle)
		assert.NoError(t, err)
		assert.Len(t, samples(t, w, `^(mtls_injector_serving_certificate_not_after_timestamp_seconds)()? (\d)\.\d+e\+09$`), 1)
	}
}

// overwrite writes over every caBundle but one.
func (s *selfManaged) overwrite(ctx context.Context, bundle []byte) error {
	mutating, validating, _, err := s.configurations(ctx)
	if err != nil {
		return err
	}
	for i := range mutating.Webhooks {
		mutating.Webhooks[i].ClientConfig.CABundle = bundle
	}
	validating.Webhooks[0].ClientConfig.CABundle = bundle
	return errors.Join(shared.Client.Update(ctx, mutating), shared.Client.Update(ctx, validating))
}

// repaired: what others write over the caBundle is replaced, and nothing else.
func (s *selfManaged) repaired(t *testing.T) {
	mutating, validating, _, err := s.configurations(t.Context())
	require.NoError(t, err)
	want, err := s.bundle(t.Context())
	require.NoError(t, err)
	foreign, _, err := certutil.GenerateSelfSignedCertKey("foreign", nil, nil)
	require.NoError(t, err)
	for name, bundle := range map[string][]byte{"empty": nil, "another CA": foreign} {
		require.NoError(t, shared.WaitFor(t.Context(), name+": the overwriting", func(ctx context.Context) error { return s.overwrite(ctx, bundle) }))
		require.NoError(t, shared.WaitFor(t.Context(), name+": the repair", func(ctx context.Context) error {
			if got, err := s.bundle(ctx); err != nil || !bytes.Equal(want, got) {
				return fmt.Errorf("it is %q: %w", got, err)
			}
			return s.admit(ctx)
		}))
	}
	mutatingNow, validatingNow, _, err := s.configurations(t.Context())
	require.NoError(t, err)
	written := cmpopts.IgnoreFields(metav1.ObjectMeta{}, "ResourceVersion", "Generation", "ManagedFields")
	assert.Empty(t, cmp.Diff(mutating, mutatingNow, written))
	assert.Empty(t, cmp.Diff(validating, validatingNow, written))
}

// applied: to one who applies the configuration without a caBundle, as Helm, Flux and Argo CD
// do on the server, there is no drift, and what he takes out of it goes.
func (s *selfManaged) applied(t *testing.T) {
	_, validating, _, err := s.configurations(t.Context())
	require.NoError(t, err)
	manifest := validating.DeepCopy()
	manifest.ObjectMeta = metav1.ObjectMeta{Name: servingName}
	for i := range manifest.Webhooks {
		manifest.Webhooks[i].ClientConfig.CABundle = nil
	}
	more := manifest.DeepCopy()
	more.Webhooks = append(more.Webhooks, more.Webhooks[0])
	more.Webhooks[len(more.Webhooks)-1].Name = "more.example.io"
	apply := func(config *admissionv1.ValidatingWebhookConfiguration, opts ...client.ApplyOption) *unstructured.Unstructured {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(config)
		require.NoError(t, err)
		object := &unstructured.Unstructured{Object: fields}
		object.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("ValidatingWebhookConfiguration"))
		opts = append(opts, client.FieldOwner("gitops"), client.ForceOwnership)
		require.NoError(t, shared.Client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object), opts...))
		return object
	}
	apply(more)
	var live *admissionv1.ValidatingWebhookConfiguration
	require.NoError(t, shared.WaitFor(t.Context(), "the caBundle of the new webhook", func(ctx context.Context) error {
		var bundles [][]byte
		if _, live, bundles, err = s.configurations(ctx); err != nil {
			return err
		}
		return agree(bundles)
	}))
	require.Len(t, live.Webhooks, len(more.Webhooks))
	assert.Equal(t, live.ResourceVersion, apply(more, client.DryRunAll).GetResourceVersion(), "applying it again would change nothing")
	assert.Equal(t, live.ResourceVersion, apply(more).GetResourceVersion(), "nor does it")
	apply(manifest)
	_, live, _, err = s.configurations(t.Context())
	require.NoError(t, err)
	assert.Len(t, live.Webhooks, len(manifest.Webhooks))
	_, err = s.bundle(t.Context())
	assert.NoError(t, err)
}

// rotated: the CA's Secret is deleted, so that there is a new CA. Pods are made all the time,
// and each replica is verified as strictly as an API server that sees every change at once.
func (s *selfManaged) rotated(t *testing.T) {
	_, old, err := s.secretCA(t.Context())
	require.NoError(t, err)
	require.NoError(t, shared.Client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: servingSecret}}))
	var ca *x509.Certificate
	beside, done := false, map[*cluster.Webhook]bool{}
	const most = 20_000 // pods; far more than can be made in the time
	pods := 0
	for ; len(done) < len(s.replicas) && pods < most; pods++ {
		require.NoError(t, s.admit(t.Context()), "pod %d", pods)
		_, _, bundles, err := s.configurations(t.Context())
		require.NoError(t, err)
		bundle := bundles[0] // the pods'; the others are patched a moment later
		if ca == nil {
			_, now, err := s.secretCA(t.Context())
			if err == nil && !now.Equal(old) {
				ca = now
			} else if err != nil && !apierrors.IsNotFound(err) {
				require.NoError(t, err)
			}
			continue
		}
		certs, err := certutil.ParseCertsPEM(bundle)
		require.NoError(t, err)
		beside = beside || len(certs) == 2 && certs[0].Equal(ca) && certs[1].Equal(old)
		for _, w := range s.replicas {
			number, err := serial(t.Context(), w, bundle)
			require.NoError(t, err, w.Name)
			if number == ca.SerialNumber.String() {
				require.True(t, beside, "the new CA is trusted before it is used")
				done[w] = true
			}
		}
	}
	require.Less(t, pods, most)
	t.Logf("%d pods, none refused", pods)
	for range 20 {
		require.NoError(t, s.admit(t.Context()))
	}
}
