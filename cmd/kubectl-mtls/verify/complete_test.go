package verify

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// object is the JSON of one.
type object = map[string]any

// apiServer answers what completion asks.
func apiServer(t *testing.T) string {
	t.Helper()
	resource := func(name, kind string) object {
		return object{"name": name, "kind": kind, "namespaced": true, "verbs": []string{"get", "list"}}
	}
	pod := object{
		"kind": "Pod", "apiVersion": "v1", "metadata": object{"name": "orders-1", "namespace": "shop", "labels": object{"app": "orders"}},
		"spec":   object{"containers": []object{{"name": "app", "ports": []object{{"name": "https", "containerPort": 8443}, {"containerPort": 9000}}}}},
		"status": object{"phase": "Running"},
	}
	answers := map[string]object{
		"/api": {"kind": "APIVersions", "versions": []string{"v1"}},
		"/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []object{{
			"name": "apps", "versions": []object{{"groupVersion": "apps/v1", "version": "v1"}}, "preferredVersion": object{"groupVersion": "apps/v1", "version": "v1"},
		}}},
		"/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []object{
			resource("pods", "Pod"), resource("services", "Service"), {"name": "namespaces", "kind": "Namespace", "verbs": []string{"get", "list"}},
		}},
		"/apis/apps/v1": {"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": []object{resource("deployments", "Deployment")}},
		"/api/v1/namespaces/shop/pods": {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "items": []object{
			{"metadata": object{"name": "orders-1"}}, {"metadata": object{"name": "bank-1"}},
		}},
		"/api/v1/namespaces/shop/pods/orders-1": pod,
		"/apis/apps/v1/namespaces/shop/deployments": {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "items": []object{
			{"metadata": object{"name": "orders"}},
		}},
		"/api/v1/namespaces/shop/services": {"kind": "ServiceList", "apiVersion": "v1", "items": []object{{
			"metadata": object{"name": "orders", "namespace": "shop"},
			"spec":     object{"selector": object{"app": "orders"}, "ports": []object{{"port": 443, "targetPort": "https"}}},
		}}},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusForbidden)
			answer = object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": http.StatusForbidden}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestCompletion(t *testing.T) {
	kubeconfig := t.TempDir() + "/config"
	require.NoError(t, os.WriteFile(kubeconfig, []byte(`apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: "`+apiServer(t)+`"}}]
contexts: [{name: a, context: {cluster: a, namespace: shop}}]
current-context: a
`), 0o600))
	const noSpace = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	for name, tc := range map[string]struct {
		args      []string
		prefix    string
		want      []string
		directive cobra.ShellCompDirective
	}{
		"pods and kinds": {want: []string{"bank-1", "orders-1", "daemonset/", "deployment/", "service/", "statefulset/"}, directive: noSpace},
		"a pod":          {prefix: "ord", want: []string{"orders-1"}, directive: cobra.ShellCompDirectiveNoFileComp},
		"of a kind":      {prefix: "deployment/", want: []string{"deployment/orders"}, directive: cobra.ShellCompDirectiveNoFileComp},
		"no kind":        {prefix: "thing/", directive: cobra.ShellCompDirectiveNoFileComp},
		"ports":          {args: []string{"orders-1"}, want: []string{"8443\tport 443 of Service orders", "9000\tcontainerPort of app"}, directive: cobra.ShellCompDirectiveNoFileComp},
		"a port":         {args: []string{"orders-1"}, prefix: "9", want: []string{"9000\tcontainerPort of app"}, directive: cobra.ShellCompDirectiveNoFileComp},
		"no such pod":    {args: []string{"none"}, directive: cobra.ShellCompDirectiveNoFileComp},
		"nothing more":   {args: []string{"orders-1", "8443"}, directive: cobra.ShellCompDirectiveNoFileComp},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := NewCommand(genericiooptions.NewTestIOStreamsDiscard())
			cmd.SetContext(t.Context())
			require.NoError(t, cmd.Flags().Set("kubeconfig", kubeconfig))
			require.NoError(t, cmd.Flags().Set("cache-dir", t.TempDir()))
			got, directive := cmd.ValidArgsFunction(cmd, tc.args, tc.prefix)
			assert.Equal(t, tc.want, got)
			assert.Equal(t, tc.directive, directive)
		})
	}
}
