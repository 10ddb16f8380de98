package kube

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Cluster is a cluster as its user may see it.
type Cluster struct {
	// Client reads without a cache.
	client.Client
	// Config is for clients of other kinds, such as discovery; nil in unit tests.
	Config *rest.Config
	// Namespace is that of -n, or of kubectl's context.
	Namespace string
	// Gaps are what could not be read.
	Gaps *Gaps

	flags *Flags
}

// Answer says how a question to the cluster ended.
type Answer int

// Found: the object is there, or the list is whole. Absent: there is no such object, or not
// even its kind. Hidden: the user may not know, and a [Gap] tells so.
const (
	Found Answer = iota + 1
	Absent
	Hidden
)

// Read gets an object. purpose is what cannot be told when the user may not read it.
func (c *Cluster) Read(ctx context.Context, key client.ObjectKey, object client.Object, purpose string) (Answer, error) {
	err := c.Get(ctx, key, object)
	return c.answer(err, Gap{Verb: "get", Name: key.Name, Namespace: key.Namespace, For: purpose})
}

// ReadAll lists objects, whole, in the namespace or, if that is empty, in all. purpose is
// what cannot be told when the user may not.
func (c *Cluster) ReadAll(ctx context.Context, list client.ObjectList, namespace, purpose string, options ...client.ListOption) (Answer, error) {
	err := c.List(ctx, list, append(options, client.InNamespace(namespace))...)
	return c.answer(err, Gap{Verb: "list", Namespace: namespace, For: purpose})
}

func (c *Cluster) answer(err error, gap Gap) (Answer, error) {
	switch {
	case err == nil:
		return Found, nil
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err), discovery.IsGroupDiscoveryFailedError(err):
		return Absent, nil
	case apierrors.IsForbidden(err):
		if status, ok := errors.AsType[*apierrors.StatusError](err); ok && status.ErrStatus.Details != nil {
			gap.Group, gap.Resource = status.ErrStatus.Details.Group, status.ErrStatus.Details.Kind
		}
		c.Gaps.Add(gap)
		return Hidden, nil
	default:
		return 0, fmt.Errorf("%s: %w", gap.For, err)
	}
}
