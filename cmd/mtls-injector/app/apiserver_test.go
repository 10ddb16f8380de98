package app

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
)

// object is any Kubernetes object.
type object = map[string]any

// apiServer answers what the webhook asks of an API server: discovery, lists and watches
// of the objects, by resource. Nothing ever changes, and there is no Certificate.
func apiServer(t *testing.T, objects map[string][]object) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api", answer(object{"kind": "APIVersions", "versions": []string{"v1"}}))
	mux.HandleFunc("GET /apis", answer(metav1.APIGroupList{Groups: []metav1.APIGroup{{
		Name: "cert-manager.io", Versions: []metav1.GroupVersionForDiscovery{{GroupVersion: "cert-manager.io/v1", Version: "v1"}},
	}}}))
	mux.HandleFunc("GET /version", answer(version.Info{GitVersion: "v1.36.3"}))
	for path, resources := range map[string]map[string]string{
		"/api/v1":                  {"namespaces": "Namespace", "services": "Service", "pods": "Pod", "secrets": "Secret"},
		"/apis/cert-manager.io/v1": {"certificates": "Certificate"},
	} {
		groupVersion := strings.TrimPrefix(strings.TrimPrefix(path, "/apis/"), "/api/")
		var list []metav1.APIResource
		for resource, kind := range resources {
			list = append(list, metav1.APIResource{Name: resource, Kind: kind, Namespaced: kind != "Namespace", Verbs: metav1.Verbs{"get", "list", "watch"}})
			mux.HandleFunc("GET "+path+"/"+resource, collection(groupVersion, kind, objects[resource]))
		}
		mux.HandleFunc("GET "+path, answer(metav1.APIResourceList{GroupVersion: groupVersion, APIResources: list}))
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

func answer(value any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(value)
	}
}

// collection answers a list, or a watch that begins with the list (KEP-3157) and then
// stays silent until the client has enough.
func collection(version, kind string, items []object) http.HandlerFunc {
	for _, item := range items {
		item["apiVersion"], item["kind"] = version, kind
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" {
			answer(object{"apiVersion": version, "kind": kind + "List", "metadata": object{"resourceVersion": "1"}, "items": items})(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		events := json.NewEncoder(w)
		if r.URL.Query().Get("sendInitialEvents") == "true" {
			for _, item := range items {
				_ = events.Encode(object{"type": "ADDED", "object": item})
			}
			_ = events.Encode(object{"type": "BOOKMARK", "object": object{
				"apiVersion": version, "kind": kind,
				"metadata": object{"resourceVersion": "1", "annotations": object{metav1.InitialEventsAnnotationKey: "true"}},
			}})
		}
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}
