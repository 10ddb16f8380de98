package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/webhook"
)

const secretTaken = `Secret "app-mtls-pod" was made by somebody else: the pod mounts it as it is, and no companion Certificate is written while it is there`

// secretOf is the Secret that the pod of podWith would mount, as somebody may have made it.
func secretOf(namespace string, labels, annotations map[string]string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "app-mtls-pod", Labels: labels, Annotations: annotations},
		Data:       map[string][]byte{"password": []byte("correct horse battery staple")},
	}
}

// TestWebhookWarnsOfForeignSecrets is about who made the Secret that a pod would mount.
func TestWebhookWarnsOfForeignSecrets(t *testing.T) {
	runWebhook(t, shared, cluster.WebhookOptions{})
	warned := warningClient(t, shared)
	labels := map[string]string{"cert-type": "mtls", "app.kubernetes.io/managed-by": "mtls-injector"}
	named := func(certificate string) map[string]string {
		return map[string]string{"cert-manager.io/certificate-name": certificate}
	}
	cases := map[string]struct {
		secret   *corev1.Secret
		delivery string
		want     []string
	}{
		"none":                          {nil, "secret", nil},
		"somebody else's":               {secretOf("", nil, nil), "secret", []string{secretTaken}},
		"of another Certificate":        {secretOf("", nil, named("app-mtls-pod")), "secret", []string{secretTaken}},
		"a companion's, under its name": {secretOf("", labels, named("app-mtls-pod")), "secret", nil},
		"a companion's, renamed":        {secretOf("", labels, named("web-mtls")), "secret", []string{secretTaken}},
		"of no concern with csi":        {secretOf("", nil, nil), "csi", nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			namespace := clustertest.Namespace(t, shared, nil)
			if tc.secret != nil {
				tc.secret.Namespace = namespace
				require.NoError(t, shared.Client.Create(t.Context(), tc.secret))
			}
			for _, options := range [][]client.CreateOption{{client.DryRunAll}, nil} {
				ctx, warnings := collectWarnings(t.Context())
				pod := podWith(namespace, map[string]string{"role": "client", "delivery": tc.delivery})
				require.NoError(t, warned.Create(ctx, pod, options...))
				assert.Equal(t, tc.want, warnings.texts)
				assert.Equal(t, "true", seeInjected(&admitted{Pod: pod}), "a warning is all there is to it")
			}
		})
	}
}

// TestWebhookKnowsTheCompanionsSecret: the one that cert-manager really writes.
func TestWebhookKnowsTheCompanionsSecret(t *testing.T) {
	c := newCompanions(t)
	annotations := map[string]string{"role": "client", "delivery": "secret"}
	require.NoError(t, c.Client.Create(t.Context(), podWith(c.namespace, annotations)))
	var secret corev1.Secret
	key := client.ObjectKey{Namespace: c.namespace, Name: "app-mtls-pod"}
	require.NoError(t, c.WaitFor(t.Context(), "the companion's Secret", func(ctx context.Context) error { return c.Client.Get(ctx, key, &secret) }))

	another := podWith(c.namespace, annotations)
	another.Name, another.GenerateName = "", "app-" // whose companion has the same name
	ctx, warnings := collectWarnings(t.Context())
	require.NoError(t, warningClient(t, shared).Create(ctx, another, client.DryRunAll))
	assert.Equal(t, "Secret app-mtls-pod", seeKeyPair(&admitted{Pod: another}))
	assert.Empty(t, warnings.texts)
}

// secretTap notes what the API server says of Secrets.
type secretTap struct {
	http.RoundTripper
	accept  []string
	answers bytes.Buffer
}

func (s *secretTap) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := s.RoundTripper.RoundTrip(r)
	if err != nil || !strings.Contains(r.URL.Path, "/secrets/") {
		return response, err
	}
	s.accept = append(s.accept, r.Header.Get("Accept"))
	body, err := io.ReadAll(response.Body)
	s.answers.Write(body)
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, err
}

// TestWebhookReadsNoSecrets: with the rights and the reader that the webhook has, what is
// in a Secret stays with the API server.
func TestWebhookReadsNoSecrets(t *testing.T) {
	namespace := clustertest.Namespace(t, shared, nil)
	secret := secretOf(namespace, nil, nil)
	require.NoError(t, shared.Client.Create(t.Context(), secret))

	config, err := shared.InjectorConfig()
	require.NoError(t, err)
	tap := &secretTap{}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		tap.RoundTripper = next
		return tap
	})
	reader, err := client.New(config, client.Options{})
	require.NoError(t, err)
	source, err := webhook.NewCluster(t.Context(), &informertest.FakeInformers{}, reader)
	require.NoError(t, err)

	taken, err := source.SecretTaken(t.Context(), namespace, secret.Name)
	require.NoError(t, err)
	assert.True(t, taken)
	require.Len(t, tap.accept, 1)
	assert.Contains(t, tap.accept[0], "as=PartialObjectMetadata")
	answer, password := tap.answers.String(), secret.Data["password"]
	assert.Contains(t, answer, string(secret.UID), "it is about this Secret")
	assert.NotContains(t, answer, string(password))
	assert.NotContains(t, answer, base64.StdEncoding.EncodeToString(password))
}
