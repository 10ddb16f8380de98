package intent_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"example.io/mtls-injector/intent"
)

func TestSelects(t *testing.T) {
	type set = map[string]string
	for name, c := range map[string]struct {
		selector, labels set
		want             bool
	}{
		"equal":              {set{"app": "web"}, set{"app": "web"}, true},
		"more labels":        {set{"app": "web"}, set{"app": "web", "tier": "front"}, true},
		"more selectors":     {set{"app": "web", "tier": "front"}, set{"app": "web"}, false},
		"other value":        {set{"app": "web"}, set{"app": "db"}, false},
		"empty value":        {set{"app": ""}, set{"app": ""}, true},
		"empty value absent": {set{"app": ""}, set{"tier": "front"}, false},
		"no selector":        {nil, set{"app": "web"}, false},
		"empty selector":     {set{}, set{"app": "web"}, false},
		"no labels":          {set{"app": "web"}, nil, false},
		"nothing at all":     {nil, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			svc := intent.Service{Name: "s", Selector: c.selector}
			assert.Equal(t, c.want, svc.Selects(c.labels))
		})
	}
}

func TestServiceOf(t *testing.T) {
	selector := map[string]string{"app": "web"}
	for name, c := range map[string]struct {
		spec corev1.ServiceSpec
		want intent.Service
	}{
		"ClusterIP":    {corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.0.0.1", Selector: selector}, intent.Service{Name: "web", Selector: selector}},
		"not yet set":  {corev1.ServiceSpec{Selector: selector}, intent.Service{Name: "web", Selector: selector}},
		"headless":     {corev1.ServiceSpec{ClusterIP: "None", Selector: selector}, intent.Service{Name: "web", Selector: selector, Headless: true}},
		"no selector":  {corev1.ServiceSpec{ClusterIP: "10.0.0.1"}, intent.Service{Name: "web"}},
		"LoadBalancer": {corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Selector: selector}, intent.Service{Name: "web", Selector: selector}},
		"ExternalName": {corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, Selector: selector}, intent.Service{Name: "web"}},
	} {
		t.Run(name, func(t *testing.T) {
			svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop"}, Spec: c.spec}
			assert.Equal(t, c.want, intent.ServiceOf(svc))
		})
	}
}

func TestNamespaceOf(t *testing.T) {
	labels, notes := map[string]string{"team": "retail"}, annotations("role", "client")
	want := intent.Namespace{Name: "shop", Labels: labels, Annotations: notes}
	meta := metav1.ObjectMeta{Name: "shop", Labels: labels, Annotations: notes}
	assert.Equal(t, want, intent.NamespaceOf(&corev1.Namespace{ObjectMeta: meta}))
	assert.Equal(t, want, intent.NamespaceOf(&metav1.PartialObjectMetadata{ObjectMeta: meta}), "a metadata cache will do")
}
