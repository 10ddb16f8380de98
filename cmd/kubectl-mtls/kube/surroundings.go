package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// Surroundings are what a decision needs besides pod and configuration.
type Surroundings struct {
	Namespace intent.Namespace
	Services  []intent.Service
	// NamespaceKnown and ServicesKnown say whether the user may read them. Where not,
	// decisions may be other than those of the cluster.
	NamespaceKnown, ServicesKnown bool
}

// Around reads the surroundings of a namespace's pods. A Namespace that does not exist is an
// error.
func (c *Cluster) Around(ctx context.Context, namespace string) (*Surroundings, error) {
	s := &Surroundings{Namespace: intent.Namespace{
		Name: namespace, Labels: map[string]string{corev1.LabelMetadataName: namespace},
	}}
	var object corev1.Namespace
	answer, err := c.Read(ctx, client.ObjectKey{Name: namespace}, &object,
		fmt.Sprintf("whether namespace %q is opted in, and its annotations", namespace))
	switch {
	case err != nil:
		return nil, err
	case answer == Absent:
		return nil, fmt.Errorf("namespace %q does not exist", namespace)
	case answer == Found:
		s.NamespaceKnown, s.Namespace = true, intent.NamespaceOf(&object)
	}
	var services corev1.ServiceList
	answer, err = c.ReadAll(ctx, &services, namespace, "which Services select the pods, and so their DNS names")
	if err != nil {
		return nil, err
	}
	s.ServicesKnown = answer == Found
	for i := range services.Items {
		s.Services = append(s.Services, intent.ServiceOf(&services.Items[i]))
	}
	return s, nil
}

// OptedIn reports whether the API server asks the webhook about the namespace's pods. known
// is false where the user may not read the Namespace.
func (s *Surroundings) OptedIn(defaults *intent.Defaults) (optedIn, known bool) {
	return defaults.Namespaces.Matches(labels.Set(s.Namespace.Labels)), s.NamespaceKnown
}
