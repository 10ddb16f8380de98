package servingcert

// The source of the certificate, as the server wants it.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	cmtls "github.com/cert-manager/cert-manager/pkg/server/tls"
	"github.com/cert-manager/cert-manager/pkg/server/tls/authority"
	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	// grace is long for a watch event, and short for whoever waits for a certificate.
	grace = 10 * time.Second
	// overlap is long for a replica that has to change over, and short for whoever has
	// stolen the old CA's key.
	overlap = 10 * time.Minute
)

// Options say what to make and where to keep it. Every field is needed.
type Options struct {
	// Config reaches the API server, with rights to create a Secret in the namespace, to get,
	// list, watch and update the one of that name, and to get, list, watch and patch the
	// webhook configurations of that name.
	Config *rest.Config
	// SecretNamespace and SecretName say where the CA is kept, SecretLabels what labels its
	// Secret is made with.
	SecretNamespace, SecretName string
	SecretLabels                map[string]string
	// ConfigurationName is the name of the MutatingWebhookConfiguration and the
	// ValidatingWebhookConfiguration whose caBundles are kept right. Either may be missing.
	ConfigurationName string
	// DNSNames are the names that the API server calls the webhook by.
	DNSNames []string
	// CADuration and LeafDuration are the lifetimes of the CA and of what it signs. Each is
	// replaced when two thirds of its time are over.
	CADuration, LeafDuration time.Duration
	Log                      logr.Logger
}

// Source is a serving certificate that makes itself. It implements webhook.CertificateSource.
type Source struct {
	dynamic *cmtls.DynamicSource
	trust   *trust
	keeper  *keeper
	log     logr.Logger
}

// New makes a Source. Nothing is read or written until Start.
func New(opts Options) (*Source, error) {
	client, err := kubernetes.NewForConfig(opts.Config)
	if err != nil {
		return nil, fmt.Errorf("client for the serving certificate: %w", err)
	}
	trust := &trust{grace: grace, overlap: overlap, now: time.Now}
	return &Source{
		dynamic: &cmtls.DynamicSource{
			DNSNames: opts.DNSNames,
			Authority: &authority.DynamicAuthority{
				RESTConfig: opts.Config, SecretNamespace: opts.SecretNamespace, SecretName: opts.SecretName, SecretLabels: opts.SecretLabels,
				CommonName: commonName, CADuration: opts.CADuration, LeafDuration: opts.LeafDuration,
			},
		},
		trust: trust, keeper: newKeeper(client, opts, trust), log: opts.Log,
	}, nil
}

// Start makes certificates and keeps the caBundles right until the context ends.
func (s *Source) Start(ctx context.Context) error {
	group, ctx := errgroup.WithContext(logr.NewContext(ctx, s.log))
	group.Go(func() error { return s.dynamic.Start(ctx) })
	group.Go(func() error { return s.keeper.run(ctx) })
	return group.Wait()
}

// NeedLeaderElection tells the manager that every replica has a certificate of its own.
func (s *Source) NeedLeaderElection() bool { return false }

// GetCertificate is for [tls.Config]. It returns the certificate that API servers accept
// now, which may not be the latest.
func (s *Source) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	newest, err := s.dynamic.GetCertificate(hello)
	if err != nil {
		return nil, err
	}
	if chosen := s.trust.choose(newest); chosen != nil {
		return chosen, nil
	}
	return nil, errors.New("its CA is not in the caBundle of every webhook configuration of ours yet")
}

// Trusted returns why an API server does not accept the certificate, if it does not for
// another reason than its lifetime.
func (s *Source) Trusted() error { return s.trust.check() }
