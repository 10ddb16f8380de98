package realnode

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"example.io/mtls-injector/e2e/cluster"
)

// endpoint is one of a slice: of a pod with a host name, that is ready or not.
func endpoint(address, host string, ready bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{address}, Hostname: &host, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}
}

// objects are a Service with an address, a headless one, and one that shows all its pods.
func objects() []client.Object {
	var all []client.Object
	for _, service := range []corev1.Service{
		{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.ServiceSpec{ClusterIP: "10.0.0.7"}},
		{ObjectMeta: metav1.ObjectMeta{Name: "db"}, Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone}},
		{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, PublishNotReadyAddresses: true}},
	} {
		service.Namespace = "shop"
		slice := &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: service.Name + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: service.Name}},
			Endpoints:  []discoveryv1.Endpoint{endpoint("10.244.0.2", service.Name+"-0", true), endpoint("10.244.0.3", service.Name+"-1", false)},
		}
		all = append(all, &service, slice)
	}
	return all
}

func TestResolve(t *testing.T) {
	n := &Node{Cluster: &cluster.Cluster{Client: fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(objects()...).Build()}}
	cases := map[string][]string{
		"web.shop.svc.cluster.local.":             {"10.0.0.7"},
		"db.shop.svc.cluster.local.":              {"10.244.0.2"},
		"db-0.db.shop.svc.cluster.local.":         {"10.244.0.2"},
		"10-244-0-2.db.shop.svc.cluster.local.":   {"10.244.0.2"},
		"db-1.db.shop.svc.cluster.local.":         nil, // not ready
		"all.shop.svc.cluster.local.":             {"10.244.0.2", "10.244.0.3"},
		"all-1.all.shop.svc.cluster.local.":       {"10.244.0.3"},
		"none.shop.svc.cluster.local.":            nil,
		"web.other.svc.cluster.local.":            nil,
		"shop.svc.cluster.local.":                 nil,
		"a.db-0.db.shop.svc.cluster.local.":       nil,
		"web.shop.svc.cluster.local.example.com.": nil,
		"example.com.":                            nil,
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := n.resolve(t.Context(), name)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
}
