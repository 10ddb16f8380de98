package intent_test

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"example.io/mtls-injector/intent"
)

// TestIsCompanionSecret writes labels and annotation out: they stand in Secrets that live
// longer than any version of the project.
func TestIsCompanionSecret(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*metav1.ObjectMeta)
		want   bool
	}{
		"ours":                 {func(*metav1.ObjectMeta) {}, true},
		"more labels":          {func(m *metav1.ObjectMeta) { m.Labels["a"], m.Annotations["b"] = "c", "d" }, true},
		"another type":         {func(m *metav1.ObjectMeta) { m.Labels["cert-type"] = "web" }, false},
		"no type":              {func(m *metav1.ObjectMeta) { delete(m.Labels, "cert-type") }, false},
		"another manager":      {func(m *metav1.ObjectMeta) { m.Labels["app.kubernetes.io/managed-by"] = "Helm" }, false},
		"no manager":           {func(m *metav1.ObjectMeta) { delete(m.Labels, "app.kubernetes.io/managed-by") }, false},
		"another Certificate":  {func(m *metav1.ObjectMeta) { m.Annotations["cert-manager.io/certificate-name"] = "web" }, false},
		"no Certificate":       {func(m *metav1.ObjectMeta) { m.Annotations = nil }, false},
		"a copy, renamed":      {func(m *metav1.ObjectMeta) { m.Name = "copy" }, false},
		"nothing of the three": {func(m *metav1.ObjectMeta) { m.Labels, m.Annotations = nil, nil }, false},
		"labels swapped": {func(m *metav1.ObjectMeta) {
			m.Labels = map[string]string{"cert-type": "mtls-injector", "app.kubernetes.io/managed-by": "mtls"}
		}, false},
		"labels as annotations": {func(m *metav1.ObjectMeta) {
			maps.Copy(m.Annotations, m.Labels)
			m.Labels = nil
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
				Name:        "web-mtls",
				Labels:      map[string]string{"cert-type": "mtls", "app.kubernetes.io/managed-by": "mtls-injector"},
				Annotations: map[string]string{"cert-manager.io/certificate-name": "web-mtls"},
			}}
			c.change(&secret.ObjectMeta)
			assert.Equal(t, c.want, intent.IsCompanionSecret(secret))
		})
	}
}
