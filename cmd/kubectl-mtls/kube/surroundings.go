package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// purposeServices is what cannot be told without Services.
const purposeServices = "which Services select the pods, and so their DNS names"

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
	s := Unknown(namespace)
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
	answer, err = c.ReadAll(ctx, &services, namespace, purposeServices)
	if err != nil {
		return nil, err
	}
	s.ServicesKnown = answer == Found
	for i := range services.Items {
		s.Services = append(s.Services, intent.ServiceOf(&services.Items[i]))
	}
	return s, nil
}

// Unknown returns the surroundings in a namespace of which nothing is known but its name.
func Unknown(namespace string) *Surroundings {
	return &Surroundings{Namespace: intent.Namespace{
		Name: namespace, Labels: map[string]string{corev1.LabelMetadataName: namespace},
	}}
}

// AroundAll reads the surroundings of all namespaces, by name. Where the user may not list
// Namespaces, those that have Services are there, and nothing is known of them.
func (c *Cluster) AroundAll(ctx context.Context) (map[string]*Surroundings, error) {
	all := map[string]*Surroundings{}
	var namespaces corev1.NamespaceList
	if _, err := c.ReadAll(ctx, &namespaces, "", "which namespaces are opted in, and their annotations"); err != nil {
		return nil, err
	}
	for i := range namespaces.Items {
		all[namespaces.Items[i].Name] = &Surroundings{Namespace: intent.NamespaceOf(&namespaces.Items[i]), NamespaceKnown: true}
	}
	var services corev1.ServiceList
	answer, err := c.ReadAll(ctx, &services, "", purposeServices)
	if err != nil {
		return nil, err
	}
	for i := range services.Items {
		svc := &services.Items[i]
		if all[svc.Namespace] == nil {
			all[svc.Namespace] = Unknown(svc.Namespace)
		}
		all[svc.Namespace].Services = append(all[svc.Namespace].Services, intent.ServiceOf(svc))
	}
	for _, s := range all {
		s.ServicesKnown = answer == Found
	}
	return all, nil
}

// OptedIn reports whether the API server asks the webhook about the namespace's pods. known
// is false where the user may not read the Namespace.
func (s *Surroundings) OptedIn(defaults *intent.Defaults) (optedIn, known bool) {
	return defaults.Namespaces.Matches(labels.Set(s.Namespace.Labels)), s.NamespaceKnown
}
