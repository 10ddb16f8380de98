package app

// Certificates are known even where cert-manager is not installed, or not yet.

import (
	"fmt"
	"net/http"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// mapper is the API server's answer to what there is, and Certificates. Without them the
// manager could not be made, and the webhook would not serve. So they are watched in vain
// until cert-manager is installed, and the controller waits for that.
type mapper struct {
	meta.RESTMapper
}

func newMapper(config *rest.Config, client *http.Client) (meta.RESTMapper, error) {
	dynamic, err := apiutil.NewDynamicRESTMapper(config, client)
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	return mapper{dynamic}, nil
}

// RESTMapping implements [meta.RESTMapper].
func (m mapper) RESTMapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	mapping, err := m.RESTMapper.RESTMapping(kind, versions...)
	certificate := cmapi.SchemeGroupVersion.WithKind(cmapi.CertificateKind)
	if meta.IsNoMatchError(err) && kind == certificate.GroupKind() {
		return &meta.RESTMapping{
			Resource: cmapi.SchemeGroupVersion.WithResource("certificates"), GroupVersionKind: certificate, Scope: meta.RESTScopeNamespace,
		}, nil
	}
	return mapping, err
}
