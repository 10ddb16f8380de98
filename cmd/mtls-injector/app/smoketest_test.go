package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"example.io/mtls-injector/cmd/internal/smoketest"
	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// smokeCluster answers what the smoke test asks. What is nil is forbidden.
type smokeCluster struct {
	// admit answers the creation of a pod with the pod as it comes out, or an error.
	admit func(*corev1.Pod) (*corev1.Pod, error)
	// labels are the Namespace's.
	labels map[string]any
	hooks  []object
	// created has the query of each creation.
	created  []string
	warnings []string
}

func (c *smokeCluster) server(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/namespaces/shop/pods", func(w http.ResponseWriter, r *http.Request) {
		c.created = append(c.created, r.URL.RawQuery)
		for _, text := range c.warnings {
			w.Header().Add("Warning", fmt.Sprintf("299 - %q", text))
		}
		pod := &corev1.Pod{}
		err := json.NewDecoder(r.Body).Decode(pod)
		if err == nil {
			pod, err = c.admit(pod)
		}
		respond(w, r, pod, err)
	})
	mux.HandleFunc("GET /api/v1/namespaces/shop", func(w http.ResponseWriter, r *http.Request) {
		var err error
		if c.labels == nil {
			err = apierrors.NewForbidden(schema.GroupResource{Resource: "namespaces"}, "shop", errors.New("no"))
		}
		respond(w, r, object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": "shop", "labels": c.labels}}, err)
	})
	mux.HandleFunc("GET /apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", func(w http.ResponseWriter, r *http.Request) {
		var err error
		if c.hooks == nil {
			err = apierrors.NewForbidden(schema.GroupResource{Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations"}, "", errors.New("no"))
		}
		respond(w, r, object{
			"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfigurationList",
			"items": []object{{"metadata": object{"name": "mtls-injector"}, "webhooks": c.hooks}},
		}, err)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// respond answers with the object, or with the error as the API server does.
func respond(w http.ResponseWriter, r *http.Request, object any, err error) {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		body := status.Status()
		body.APIVersion, body.Kind = "v1", "Status"
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(int(body.Code))
		object = body
	}
	answer(object)(w, r)
}

// injected is the pod as the webhook changes it.
func injected(pod *corev1.Pod) (*corev1.Pod, error) {
	pod.Name = pod.GenerateName + "abcde"
	ns := intent.Namespace{Name: "shop", Labels: map[string]string{intent.LabelEnabled: "true"}}
	resolved := intent.Resolve(intent.BuiltinDefaults(), &ns, intent.PodOf(pod), nil)
	operations, err := json.Marshal(injector.Patch(intent.PodOf(pod), resolved.Intent).Operations)
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch(operations)
	if err != nil {
		return nil, err
	}
	before, err := json.Marshal(pod)
	if err != nil {
		return nil, err
	}
	after, err := patch.Apply(before)
	if err != nil {
		return nil, err
	}
	out := &corev1.Pod{}
	return out, json.Unmarshal(after, out)
}

func untouched(pod *corev1.Pod) (*corev1.Pod, error) { return pod, nil }

// hookFor is the webhook as the chart registers it.
func hookFor(change ...func(object)) object {
	h := object{
		"name": "pods.mtls.example.io", "failurePolicy": "Fail", "namespaceSelector": object{"matchLabels": object{"mtls-enabled": "true"}},
		"clientConfig": object{"service": object{"name": "mtls-injector", "namespace": "mtls-injector", "path": "/mutate-v1-pod"}},
	}
	for _, f := range change {
		f(h)
	}
	return h
}

// smokeTestOf runs the command with these arguments besides.
func smokeTestOf(t *testing.T, server string, args ...string) (string, error) {
	t.Helper()
	cmd := NewCommand("v1.2.3")
	cmd.SetArgs(append([]string{"smoke-test", "--kubeconfig", kubeconfig(t, server), "--namespace", "shop", "--timeout", "5s"}, args...))
	var out strings.Builder
	cmd.SetOut(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestSmokeTest(t *testing.T) {
	c := &smokeCluster{admit: injected, warnings: []string{"it rains", "it pours", "it rains"}}
	out, err := smokeTestOf(t, c.server(t).URL, "--service-account", "cart")
	require.NoError(t, err)
	assert.Equal(t, `warn  it rains
warn  it pours
ok    label mtls.example.io/injected: "true"
ok    annotation mtls.example.io/status: mtls-injector dev, spiffe://cluster.local/ns/shop/sa/cart
ok    environment: MTLS_ROLE, MTLS_SPIFFE_ID, MTLS_CA_CERT, MTLS_SERVER_CERT, MTLS_SERVER_KEY
ok    volume with the certificate at /etc/tls/server: CSI driver csi.cert-manager.io
ok    volume with the CA bundle at /etc/tls/ca
ok    pod comes out injected: role server, issuer ClusterIssuer/mtls-ca, names mtls-smoke-test, mtls-smoke-test.shop, mtls-smoke-test.shop.svc, mtls-smoke-test.shop.svc.cluster.local, spiffe://cluster.local/ns/shop/sa/cart
`, out)
	assert.Equal(t, []string{"dryRun=All&fieldValidation=Strict"}, c.created, "nothing is left behind")
}

// TestSmokeTestIsNotFooled by half of an injection, or by somebody else's.
func TestSmokeTestIsNotFooled(t *testing.T) {
	container := func(pod *corev1.Pod) *corev1.Container { return &pod.Spec.Containers[0] }
	status := func(pod *corev1.Pod, from, to string) {
		pod.Annotations[intent.AnnotationStatus] = strings.Replace(pod.Annotations[intent.AnnotationStatus], from, to, 1)
	}
	const notServer = "annotation mtls.example.io/status is not that of a server spiffe://…/ns/shop/sa/default with an issuer: "
	for name, tt := range map[string]struct {
		change func(*corev1.Pod)
		want   string
	}{
		"no label":          {func(pod *corev1.Pod) { delete(pod.Labels, intent.LabelInjected) }, `label mtls.example.io/injected is "", not "true"`},
		"another label":     {func(pod *corev1.Pod) { pod.Labels[intent.LabelInjected] = "yes" }, `label mtls.example.io/injected is "yes", not "true"`},
		"no status":         {func(pod *corev1.Pod) { delete(pod.Annotations, intent.AnnotationStatus) }, "annotation mtls.example.io/status is missing"},
		"no JSON":           {func(pod *corev1.Pod) { pod.Annotations[intent.AnnotationStatus] = "injected" }, "annotation mtls.example.io/status is not the injector's: invalid character 'i' looking for beginning of value"},
		"another role":      {func(pod *corev1.Pod) { status(pod, `"server"`, `"client"`) }, notServer + `{"version":"dev","role":"client",`},
		"another account":   {func(pod *corev1.Pod) { status(pod, "sa/default", "sa/root") }, notServer + `{"version":"dev","role":"server",`},
		"another namespace": {func(pod *corev1.Pod) { status(pod, "ns/shop", "ns/bank") }, notServer + `{"version":"dev","role":"server",`},
		"no issuer":         {func(pod *corev1.Pod) { status(pod, "ClusterIssuer/mtls-ca", "") }, notServer + `{"version":"dev","role":"server",`},
		"no container":      {func(pod *corev1.Pod) { container(pod).Name = "other" }, "container mtls-smoke-test is gone"},
		"no variables":      {func(pod *corev1.Pod) { container(pod).Env = nil }, "environment lacks MTLS_ROLE, MTLS_SPIFFE_ID, MTLS_CA_CERT, MTLS_SERVER_CERT, MTLS_SERVER_KEY"},
		"no mounts":         {func(pod *corev1.Pod) { container(pod).VolumeMounts = nil }, "volume with the certificate at /etc/tls/server is missing"},
		"no volumes":        {func(pod *corev1.Pod) { pod.Spec.Volumes = nil }, "volume with the CA bundle at /etc/tls/ca is missing"},
		"another driver": {func(pod *corev1.Pod) {
			for i := range pod.Spec.Volumes {
				if csi := pod.Spec.Volumes[i].CSI; csi != nil {
					csi.Driver = "other"
				}
			}
		}, "volume with the certificate at /etc/tls/server is not of the CSI driver csi.cert-manager.io"},
		"a Secret that is none": {func(pod *corev1.Pod) { status(pod, `"csi"`, `"secret"`) }, "volume with the certificate at /etc/tls/server holds no Secret"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &smokeCluster{admit: func(pod *corev1.Pod) (*corev1.Pod, error) {
				pod, err := injected(pod)
				tt.change(pod)
				return pod, err
			}}
			out, err := smokeTestOf(t, c.server(t).URL)
			require.EqualError(t, err, "the pod does not come out injected\n"+seeOthers)
			assert.Contains(t, out, "fail  "+tt.want)
			assert.NotContains(t, out, "comes out injected")
		})
	}
}

// TestSmokeTestBySecret: with delivery by Secret there is no CSI volume.
func TestSmokeTestBySecret(t *testing.T) {
	pod := smoketest.Pod("shop", "default")
	pod.Annotations[intent.Prefix+"delivery"] = "secret"
	pod, err := injected(pod)
	require.NoError(t, err)
	found := smoketest.Judge(pod, "shop", "default")
	assert.Empty(t, found.Bad)
	assert.Contains(t, found.Good, "volume with the certificate at /etc/tls/server: Secret of the companion Certificate")
}

// TestSmokeTestWaits for what may be over in a moment, and tells of it once.
func TestSmokeTestWaits(t *testing.T) {
	notReady := apierrors.NewInternalError(errors.New(`failed calling webhook "pods.mtls.example.io": connection refused`))
	c := &smokeCluster{}
	c.admit = func(pod *corev1.Pod) (*corev1.Pod, error) {
		switch len(c.created) {
		case 1, 2:
			return nil, notReady
		case 3:
			return pod, nil
		default:
			return injected(pod)
		}
	}
	var out strings.Builder
	require.NoError(t, newTestOf(t, c).run(t.Context(), &out))
	assert.Len(t, c.created, 4)
	lines := strings.Split(out.String(), "\n")
	assert.Equal(t, []string{
		"wait  the webhook cannot be reached: " + notReady.Error(),
		"wait  the pod comes out as it went in: the webhook was not called",
		`ok    label mtls.example.io/injected: "true"`,
	}, lines[:3])
}

// TestSmokeTestGivesUp: the reason is the last one that the cluster gave.
func TestSmokeTestGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := &smokeCluster{labels: map[string]any{}, hooks: []object{}}
	c.admit = func(pod *corev1.Pod) (*corev1.Pod, error) {
		if len(c.created) == 3 {
			cancel()
		}
		return pod, nil
	}
	var out strings.Builder
	err := newTestOf(t, c).run(ctx, &out)
	const what = "the pod comes out as it went in: no MutatingWebhookConfiguration has a webhook with the path /mutate-v1-pod"
	require.EqualError(t, err, what+"\ninstall mtls-injector; see: kubectl get mutatingwebhookconfigurations")
	assert.Equal(t, "wait  "+what+"\n", out.String())
}

func TestSmokeTestWithoutAnAPIServer(t *testing.T) {
	test, err := newSmokeTest(&rest.Config{Host: "http://127.0.0.1:1"}, smokeTestOptions{namespace: "shop", serviceAccount: "default"})
	require.NoError(t, err)
	_, problem := test.try(t.Context())
	require.ErrorContains(t, problem, "the API server cannot be reached: ")
	assert.True(t, problem.passing)
}

func TestHelpOfTheSmokeTest(t *testing.T) {
	cmd := NewCommand("v1.2.3")
	cmd.SetArgs([]string{"smoke-test", "--help"})
	var out strings.Builder
	cmd.SetOut(&out)
	require.NoError(t, cmd.ExecuteContext(t.Context()))
	for _, text := range []string{"Examples:", "-n, --namespace namespace", "--service-account name", "--kubeconfig file", "--timeout duration", "(default 30s)", "dry run"} {
		assert.Contains(t, out.String(), text)
	}
}

func TestWrongFlagsOfTheSmokeTest(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no namespace":       {nil, "--namespace: is needed"},
		"no name":            {[]string{"--namespace", "Shop"}, `--namespace: "Shop" is not the name of a namespace`},
		"no account":         {[]string{"-n", "shop", "--service-account", ""}, `--service-account: "" is not the name of a service account`},
		"no such kubeconfig": {[]string{"-n", "shop", "--kubeconfig", "/nowhere"}, "--kubeconfig: stat /nowhere: no such file or directory"},
		"all at once": {[]string{"--service-account", "A", "--timeout", "0"}, `--namespace: is needed
--service-account: "A" is not the name of a service account
--timeout: must be positive, but is 0s`},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := NewCommand("v1.2.3")
			cmd.SetArgs(append([]string{"smoke-test"}, tt.args...))
			assert.EqualError(t, cmd.ExecuteContext(t.Context()), tt.want)
		})
	}
}
