package servingcert

// The two kinds of webhook configurations, as one.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	jsonpatch "gomodules.xyz/jsonpatch/v2"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// fieldManager is who has set the caBundles, in managedFields. Tools that compare the
// cluster with a repository can be told to pass its fields over.
const fieldManager = "mtls-injector-serving-cert"

// configuration is what counts of a webhook configuration: the caBundle of each webhook.
type configuration struct {
	resourceVersion string
	bundles         [][]byte
}

// kind is one of the two kinds: how the configuration is read, from the cache and at the API
// server, and patched.
type kind struct {
	name   string
	cached func() (*configuration, error)
	live   func(context.Context) (*configuration, error)
	patch  func(context.Context, []byte) error
}

// client is what is used of a typed client.
type client[T any] interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (T, error)
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (T, error)
}

// newKind makes a kind of what client-go has for it. name is that of the object.
func newKind[T any](kindName, name string, cached func(name string) (T, error), live client[T], read func(T) *configuration) kind {
	return kind{
		name: kindName,
		cached: func() (*configuration, error) {
			object, err := cached(name)
			if err != nil {
				return nil, err
			}
			return read(object), nil
		},
		live: func(ctx context.Context) (*configuration, error) {
			object, err := live.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return nil, err
			}
			return read(object), nil
		},
		patch: func(ctx context.Context, patch []byte) error {
			_, err := live.Patch(ctx, name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
			return err
		},
	}
}

func readMutating(object *admissionv1.MutatingWebhookConfiguration) *configuration {
	c := &configuration{resourceVersion: object.ResourceVersion}
	for i := range object.Webhooks {
		c.bundles = append(c.bundles, object.Webhooks[i].ClientConfig.CABundle)
	}
	return c
}

func readValidating(object *admissionv1.ValidatingWebhookConfiguration) *configuration {
	c := &configuration{resourceVersion: object.ResourceVersion}
	for i := range object.Webhooks {
		c.bundles = append(c.bundles, object.Webhooks[i].ClientConfig.CABundle)
	}
	return c
}

// patch returns the JSON Patch that gives the webhooks the wanted caBundles, and nil when
// they have them. Webhooks are addressed by their place, so it also names the version that
// it is for: the API server answers Conflict when that has passed.
func (c *configuration) patch(wanted func(bundle []byte) []byte) ([]byte, error) {
	operations := []jsonpatch.Operation{jsonpatch.NewOperation("replace", "/metadata/resourceVersion", c.resourceVersion)}
	for i, bundle := range c.bundles {
		if want := wanted(bundle); !bytes.Equal(want, bundle) {
			operations = append(operations, jsonpatch.NewOperation("add", fmt.Sprintf("/webhooks/%d/clientConfig/caBundle", i), want))
		}
	}
	if len(operations) == 1 {
		return nil, nil
	}
	return json.Marshal(operations)
}
