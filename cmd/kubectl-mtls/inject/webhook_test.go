package inject

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
	"example.io/mtls-injector/cmd/kubectl-mtls/offline"
	"example.io/mtls-injector/intent"
	"example.io/mtls-injector/webhook"
)

// A cluster whose webhook sees the pods of injected manifests finds nothing left to do:
// offline and online never disagree. The pods here are made by hand as the controllers of
// a real cluster make them.
func TestTheWebhookHasNothingToAdd(t *testing.T) {
	seen := map[string]bool{}
	for _, file := range inputs(t, "good") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			stdout, _, err := run("", "-f", file, "-q")
			require.NoError(t, err)
			docs, errs := manifest.Read(file, []byte(stdout))
			require.Empty(t, errs)
			handler := webhookFor(t, docs)
			decisions, _ := offline.Decide(docs, &offline.Options{Defaults: defaults()})
			for i := range decisions {
				d := &decisions[i]
				if d.Intent == nil {
					continue
				}
				seen[d.Object.Kind] = true
				response := admit(t, handler, d.Intent.Namespace, createdPod(t, d))
				assert.True(t, response.Allowed, "%s: %v", d.Object, response.Result)
				assert.Empty(t, string(response.Patch), d.Object.String())
			}
		})
	}
	for _, kind := range []string{
		"Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob", "PodTemplate", "Rollout", "Fleet",
	} {
		assert.True(t, seen[kind], kind)
	}
}

// And it does find what is missing in a manifest that was not injected.
func TestTheWebhookInjectsWhatWasNot(t *testing.T) {
	const text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {metadata: {labels: {app: web}, annotations: {mtls.example.io/role: client}}, spec: {containers: [{name: a}]}}}\n"
	docs, errs := manifest.Read("in.yaml", []byte(text))
	require.Empty(t, errs)
	decisions, _ := offline.Decide(docs, &offline.Options{Defaults: defaults()})
	response := admit(t, webhookFor(t, docs), "default", createdPod(t, &decisions[0]))
	assert.NotEmpty(t, response.Patch)
}

func defaults() *intent.Defaults {
	d := intent.BuiltinDefaults()
	d.Version = "v1.2.3" // that of run
	return d
}

// createdPod returns the pod that the controller of a cluster makes from the template.
func createdPod(t *testing.T, d *offline.Decision) map[string]any {
	t.Helper()
	data, err := d.Object.JSON(d.Path...)
	require.NoError(t, err)
	var pod map[string]any
	require.NoError(t, json.Unmarshal(data, &pod))
	pod["apiVersion"], pod["kind"] = "v1", "Pod"
	metadata := pod["metadata"].(map[string]any)
	labels, _ := metadata["labels"].(map[string]any)
	name := d.Object.Name
	owner := metav1.OwnerReference{APIVersion: d.Object.APIVersion, Kind: d.Object.Kind, Name: name, UID: "0a5f", Controller: new(true)}
	switch d.Object.Kind {
	case "Pod":
		return pod
	case "Deployment":
		owner = metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: name + "-7c5ddbdf54", UID: "0a5f", Controller: new(true)}
		labels["pod-template-hash"] = "7c5ddbdf54"
	case "Rollout":
		owner = metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: name + "-66b4f9c", UID: "0a5f", Controller: new(true)}
		labels["rollouts-pod-template-hash"] = "66b4f9c"
	case "StatefulSet":
		metadata["name"] = name + "-0"
		labels["statefulset.kubernetes.io/pod-name"], labels["apps.kubernetes.io/pod-index"] = name+"-0", "0"
	case "Job":
		labels["job-name"], labels["batch.kubernetes.io/job-name"], labels["controller-uid"] = name, name, "0a5f"
	case "CronJob":
		owner = metav1.OwnerReference{APIVersion: "batch/v1", Kind: "Job", Name: name + "-29401260", UID: "0a5f", Controller: new(true)}
		labels["job-name"] = owner.Name
	}
	metadata["generateName"] = owner.Name + "-"
	metadata["ownerReferences"] = []metav1.OwnerReference{owner}
	return pod
}

// webhookFor returns the webhook of a cluster with the Namespaces and Services of the
// documents.
func webhookFor(t *testing.T, docs []*manifest.Document) http.Handler {
	t.Helper()
	metrics, err := webhook.NewMetrics(prometheus.NewRegistry())
	require.NoError(t, err)
	source := surroundings{}
	for _, d := range docs {
		for _, o := range d.Objects() {
			data, err := o.JSON()
			require.NoError(t, err)
			switch {
			case o.APIVersion != "v1":
			case o.Kind == "Namespace":
				var ns corev1.Namespace
				require.NoError(t, json.Unmarshal(data, &ns))
				*source.of(ns.Name).Namespace = intent.NamespaceOf(&ns)
			case o.Kind == "Service":
				var service corev1.Service
				require.NoError(t, json.Unmarshal(data, &service))
				near := source.of(o.Namespace)
				near.Services = append(near.Services, intent.ServiceOf(&service))
			}
		}
	}
	return webhook.NewPodHandler(webhook.PodOptions{Source: source, Metrics: metrics, Defaults: defaults, VerifyWorkload: func(context.Context, *intent.Pod, bool) (*field.Error, error) { return nil, nil }, Log: logr.Discard()})
}

// surroundings is a Source in memory, by namespace.
type surroundings map[string]*webhook.Surroundings

func (s surroundings) of(namespace string) *webhook.Surroundings {
	if namespace == "" {
		namespace = "default"
	}
	if s[namespace] == nil {
		s[namespace] = &webhook.Surroundings{Namespace: &intent.Namespace{Name: namespace}}
	}
	return s[namespace]
}

func (s surroundings) Cached(namespace string) (webhook.Surroundings, bool) {
	return *s.of(namespace), true
}

func (s surroundings) Live(_ context.Context, namespace string) (webhook.Surroundings, error) {
	if s[namespace] == nil {
		return webhook.Surroundings{}, errors.New("not found")
	}
	return *s[namespace], nil
}

// SecretTaken says no: what the command line cannot know, the webhook only warns of.
func (s surroundings) SecretTaken(context.Context, string, string) (bool, error) { return false, nil }

func admit(t *testing.T, handler http.Handler, namespace string, pod map[string]any) *admissionv1.AdmissionResponse {
	t.Helper()
	gvk := map[string]string{"group": "", "version": "v1", "kind": "Pod"}
	body, err := json.Marshal(map[string]any{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
		"request": map[string]any{
			"uid": "705ab4f5", "kind": gvk, "resource": map[string]string{"group": "", "version": "v1", "resource": "pods"},
			"namespace": namespace, "operation": "CREATE", "userInfo": map[string]string{"username": "u"}, "object": pod,
		},
	})
	require.NoError(t, err)
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	require.Equal(t, http.StatusOK, recorder.Code, recorder.Body.String())
	var review admissionv1.AdmissionReview
	require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &review))
	require.NotNil(t, review.Response)
	return review.Response
}
