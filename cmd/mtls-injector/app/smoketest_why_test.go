package app

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

func denied(text string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid, Message: `admission webhook "pods.mtls.example.io" denied the request: ` + text,
	}}
}

// newTestOf is the smoke test of that cluster.
func newTestOf(t *testing.T, c *smokeCluster) *smokeTest {
	t.Helper()
	test, err := newSmokeTest(&rest.Config{Host: c.server(t).URL, QPS: -1}, smokeTestOptions{namespace: "shop", serviceAccount: "default", timeout: time.Minute})
	require.NoError(t, err)
	test.retry = time.Millisecond
	return test
}

// TestSmokeTestTellsWhy: the reason, and what to do.
func TestSmokeTestTellsWhy(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	fails := func(err error) *smokeCluster {
		return &smokeCluster{admit: func(*corev1.Pod) (*corev1.Pod, error) { return nil, err }}
	}
	optedIn := map[string]any{"mtls-enabled": "true"}
	called := func(labels map[string]any, hooks ...object) *smokeCluster {
		return &smokeCluster{admit: untouched, labels: labels, hooks: append([]object{{"name": "other", "clientConfig": object{"url": "https://other/mutate"}}}, hooks...)}
	}
	const asItWent = "the pod comes out as it went in: webhook pods.mtls.example.io of MutatingWebhookConfiguration mtls-injector "
	for name, tt := range map[string]struct {
		cluster *smokeCluster
		passing bool
		want    string
	}{
		"refused": {fails(denied("no such role")), false, `the pod is refused: admission webhook "pods.mtls.example.io" denied the request: no such role
every such pod of namespace shop is: see its annotations and the injector's configuration`},
		"no right": {
			fails(apierrors.NewForbidden(pods, "", errors.New(`User "u" cannot create resource "pods" in API group "" in the namespace "shop"`))), false,
			`no right to create pods: pods is forbidden: User "u" cannot create resource "pods" in API group "" in the namespace "shop"
a dry run needs the right, too: kubectl -n shop create role mtls-smoke-test --verb=create --resource=pods, and a RoleBinding to it`,
		},
		"no account": {
			fails(apierrors.NewForbidden(pods, "x", errors.New(`error looking up service account shop/default: serviceaccount "default" not found`))), false,
			`the cluster's own rules refuse the pod: pods "x" is forbidden: error looking up service account shop/default: serviceaccount "default" not found
see --service-account, and the namespace's quotas and policies`,
		},
		"nobody": {fails(apierrors.NewUnauthorized("who?")), false, `the API server does not know who asks: who?
see the credentials that --kubeconfig names`},
		"no namespace": {fails(apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "shop")), false, `there is no such namespace: namespaces "shop" not found
make it, and opt it in: kubectl create namespace shop && kubectl label namespace shop mtls-enabled=true`},
		"unreachable": {
			fails(apierrors.NewInternalError(errors.New(`failed calling webhook "pods.mtls.example.io": connection refused`))), true,
			"the webhook cannot be reached: Internal error occurred: failed calling webhook \"pods.mtls.example.io\": connection refused\n" + unreachable,
		},
		"busy":  {fails(apierrors.NewServiceUnavailable("soon")), true, "the API server does not take the pod: soon"},
		"wrong": {fails(apierrors.NewBadRequest("strict decoding error")), false, "the API server does not take the pod: strict decoding error"},
		"may not look": {
			&smokeCluster{admit: untouched}, true, "the pod comes out as it went in: the webhook was not called\n" +
				"is namespace shop opted in (kubectl label namespace shop mtls-enabled=true)? Is the webhook registered (see: kubectl get mutatingwebhookconfigurations)? " +
				"This account may not look: mutatingwebhookconfigurations.admissionregistration.k8s.io is forbidden: no",
		},
		"not registered": {called(optedIn), true, "the pod comes out as it went in: no MutatingWebhookConfiguration has a webhook with the path /mutate-v1-pod\n" +
			"install mtls-injector; see: kubectl get mutatingwebhookconfigurations"},
		"may not read the labels": {called(nil, hookFor()), true, asItWent + "was not called\n" +
			`it selects namespaces with mtls-enabled=true; whether shop is one, this account may not look: namespaces "shop" is forbidden: no`},
		"not opted in": {called(map[string]any{}, hookFor()), false,
			"namespace shop is not opted in: webhook pods.mtls.example.io of MutatingWebhookConfiguration mtls-injector selects namespaces with mtls-enabled=true\n" +
				"kubectl label --overwrite namespace shop mtls-enabled=true"},
		"excluded": {called(optedIn, hookFor(func(h object) {
			h["namespaceSelector"] = object{"matchExpressions": []object{{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": []string{""}}, {"key": "a", "operator": "Exists"}}}
		})), false, "namespace shop is not opted in: webhook pods.mtls.example.io of MutatingWebhookConfiguration mtls-injector selects namespaces with " +
			"a,kubernetes.io/metadata.name notin ()\ngive it labels that match"},
		"by URL, and let pass": {called(optedIn, hookFor(func(h object) {
			h["clientConfig"], h["failurePolicy"] = object{"url": "https://127.0.0.1:1/mutate-v1-pod"}, "Ignore"
		})), true, asItWent + "lets pods pass while it cannot be reached (failurePolicy: Ignore)\n" + unreachable},
		"other pods only": {called(optedIn, hookFor(func(h object) { h["objectSelector"] = object{"matchLabels": object{"a": "b"}} })), true,
			asItWent + "takes pods with a=b only\nsee its objectSelector: the smoke test's pod has app.kubernetes.io/name=mtls-smoke-test"},
		"for no reason": {called(optedIn, hookFor(func(h object) { delete(h, "namespaceSelector") })), true,
			asItWent + "selects the namespace and was not called\nsee its rules and matchConditions; it may also have been made this moment"},
	} {
		t.Run(name, func(t *testing.T) {
			pod, problem := newTestOf(t, tt.cluster).try(t.Context())
			assert.Nil(t, pod)
			require.EqualError(t, problem, tt.want)
			assert.Equal(t, tt.passing, problem.passing)
		})
	}
}
