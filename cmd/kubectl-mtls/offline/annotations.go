package offline

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// ParseAnnotations takes the values of --namespace-annotations apart.
func ParseAnnotations(values []string) (map[string]string, error) {
	annotations := make(map[string]string, len(values))
	for _, annotation := range values {
		key, value, found := strings.Cut(annotation, "=")
		if !found || key == "" {
			return nil, fmt.Errorf("--namespace-annotations %q: must be KEY=VALUE", annotation)
		}
		annotations[key] = value
	}
	return annotations, nil
}

// CheckAnnotations returns what is wrong with the keys, in their order.
func CheckAnnotations(annotations map[string]string) []error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		if problems := validation.IsQualifiedName(strings.ToLower(key)); len(problems) > 0 {
			errs = append(errs, fmt.Errorf("--namespace-annotations: key %q: %s", key, strings.Join(problems, "; ")))
		}
	}
	return errs
}
