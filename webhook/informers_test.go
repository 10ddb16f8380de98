package webhook

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// informersOf has one informer for everything.
type informersOf struct{ informer cache.Informer }

func (i informersOf) GetInformer(context.Context, client.Object, ...cache.InformerGetOption) (cache.Informer, error) {
	return i.informer, nil
}

func (i informersOf) GetInformerForKind(context.Context, schema.GroupVersionKind, ...cache.InformerGetOption) (cache.Informer, error) {
	return i.informer, nil
}

func (informersOf) RemoveInformer(context.Context, client.Object) error { return nil }

func (informersOf) Start(context.Context) error { return nil }

func (informersOf) WaitForCacheSync(context.Context) bool { return true }

func (informersOf) IndexField(context.Context, client.Object, string, client.IndexerFunc) error {
	return nil
}

// refusing is an informer that takes no handlers.
type refusing struct{ cache.Informer }

func (refusing) AddEventHandler(toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	return nil, errors.New("it has stopped")
}
