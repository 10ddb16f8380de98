package config

// What the file may have wrong of the agent.

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Bounds of the agent's settings.
const (
	minStartTimeout = Duration(10 * time.Second)
	maxStartTimeout = Duration(24 * time.Hour)
	maxPort         = 65535
)

// imageForm takes every reference that a runtime may: it keeps out spaces and the like, of
// which nobody hears before a pod fails to start.
var imageForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$`)

func (v *validator) agent(a *Agent, path *field.Path) {
	if a.Image != "" && !imageForm.MatchString(a.Image) {
		v.invalid(path.Child("image"), a.Image, "must be an image reference such as registry.example.com/mtls-injector:v1.0.0, or empty")
	}
	policies := []corev1.PullPolicy{corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever}
	if !slices.Contains(policies, a.ImagePullPolicy) {
		v.errs = append(v.errs, field.NotSupported(path.Child("imagePullPolicy"), a.ImagePullPolicy, policies))
	}
	if a.MetricsPort != 0 && (a.MetricsPort < 1024 || a.MetricsPort > maxPort) {
		v.invalid(path.Child("metricsPort"), a.MetricsPort, fmt.Sprintf("must be from 1024 to %d, or 0 for none", maxPort))
	}
	if a.StartTimeout < minStartTimeout || a.StartTimeout > maxStartTimeout {
		v.invalid(path.Child("startTimeout"), a.StartTimeout.String(), fmt.Sprintf("must be from %s to %s", minStartTimeout, maxStartTimeout))
	}
	requests, limits := a.Resources.Requests, a.Resources.Limits
	for _, r := range [...]struct{ name, request, limit string }{
		{"cpu", requests.CPU, limits.CPU},
		{"ephemeral-storage", requests.EphemeralStorage, limits.EphemeralStorage},
		{"memory", requests.Memory, limits.Memory},
	} {
		at := path.Child("resources", "requests", r.name)
		request := v.quantity(r.request, at)
		limit := v.quantity(r.limit, path.Child("resources", "limits", r.name))
		if request != nil && limit != nil && request.Cmp(*limit) > 0 {
			v.invalid(at, r.request, "must not be more than the limit of "+r.limit) // nor does the API server take such a pod
		}
	}
}

// quantity returns nil for none, and for what is no quantity.
func (v *validator) quantity(text string, path *field.Path) *resource.Quantity {
	if text == "" {
		return nil
	}
	q, err := resource.ParseQuantity(text)
	if err != nil || q.Sign() < 0 {
		v.invalid(path, text, "must be a quantity such as 5m or 16Mi, or empty for none")
		return nil
	}
	return &q
}
