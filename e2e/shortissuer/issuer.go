// Package shortissuer is an external issuer: one of a group that is not cert-manager's,
// whose requests cert-manager leaves to it. It signs with a CA's key pair, and for less
// time than was asked if that is more than it gives, as issuers with a maximum do
// (Vault's max TTL). So there can be certificates that live a minute, for which neither
// cert-manager nor our own configuration lets anybody ask.
package shortissuer

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/demo/authority"
)

// Options say who an issuer is and what it gives. All but Backdate and Skew are required.
type Options struct {
	// Ref is what requests name: name, kind and group. No object of the kind is needed,
	// for nobody reads one.
	Ref cmmeta.IssuerReference
	// CA is the key pair that signs.
	CA authority.Pair
	// Lifetime is the longest that a certificate lives from the moment of its signing.
	Lifetime time.Duration
	// Backdate is how long before that moment its validity begins, as many CAs have it
	// for the sake of clocks that are slow.
	Backdate time.Duration
	// Skew is how far the issuer's clock is ahead of everybody else's; below zero it is
	// behind. So a certificate can be of no use yet, or be over before it comes.
	Skew time.Duration
}

// Run answers the requests of all namespaces until ctx ends.
func Run(ctx context.Context, cfg *rest.Config, opts Options) error {
	signer, err := newIssuer(opts)
	if err != nil {
		return err
	}
	several := true
	manager, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:  cluster.NewScheme(),
		Metrics: server.Options{BindAddress: "0"},
		// One program may run several issuers, one after the other.
		Controller: config.Controller{SkipNameValidation: &several},
	})
	if err != nil {
		return fmt.Errorf("making the issuer's manager: %w", err)
	}
	signer.client = manager.GetClient()
	err = ctrl.NewControllerManagedBy(manager).Named("shortissuer").For(&cmapi.CertificateRequest{}).Complete(signer)
	if err != nil {
		return fmt.Errorf("making the issuer's controller: %w", err)
	}
	if err := manager.Start(ctx); err != nil {
		return fmt.Errorf("running the issuer: %w", err)
	}
	return nil
}

// issuer is the controller.
type issuer struct {
	Options
	client client.Client
	chain  []*x509.Certificate // of the CA
	key    crypto.Signer
	now    func() time.Time
}

func newIssuer(opts Options) (*issuer, error) {
	chain, err := pki.DecodeX509CertificateChainBytes(opts.CA.Cert)
	if err != nil {
		return nil, fmt.Errorf("reading the CA's certificate: %w", err)
	}
	key, err := pki.DecodePrivateKeyBytes(opts.CA.Key)
	if err != nil {
		return nil, fmt.Errorf("reading the CA's key: %w", err)
	}
	return &issuer{Options: opts, chain: chain, key: key, now: func() time.Time { return time.Now().Add(opts.Skew) }}, nil
}

// Reconcile signs a request once it is approved. What is denied, answered already or
// another issuer's stays as it is.
func (i *issuer) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var request cmapi.CertificateRequest
	if err := i.client.Get(ctx, req.NamespacedName, &request); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	ours := request.Spec.IssuerRef == i.Ref
	decided := apiutil.CertificateRequestIsApproved(&request) && !apiutil.CertificateRequestIsDenied(&request)
	if !ours || !decided || apiutil.CertificateRequestReadyReason(&request) != "" {
		return ctrl.Result{}, nil
	}
	// A conflict, too, is tried again with the request as it is then.
	i.answer(&request)
	if err := i.client.Status().Update(ctx, &request); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("answering CertificateRequest %s: %w", req, err)
	}
	return ctrl.Result{}, nil
}

// answer fills in the status. A request that cannot be signed is failed for good: it
// would not be another one next time.
func (i *issuer) answer(request *cmapi.CertificateRequest) {
	bundle, err := i.sign(request)
	if err != nil {
		failed := metav1.NewTime(i.now())
		request.Status.FailureTime = &failed
		apiutil.SetCertificateRequestCondition(request, cmapi.CertificateRequestConditionReady,
			cmmeta.ConditionFalse, cmapi.CertificateRequestReasonFailed, err.Error())
		return
	}
	request.Status.Certificate, request.Status.CA = bundle.ChainPEM, bundle.CAPEM
	apiutil.SetCertificateRequestCondition(request, cmapi.CertificateRequestConditionReady,
		cmmeta.ConditionTrue, cmapi.CertificateRequestReasonIssued, "signed")
}

func (i *issuer) sign(request *cmapi.CertificateRequest) (pki.PEMBundle, error) {
	template, err := pki.CertificateTemplateFromCertificateRequest(request)
	if err != nil {
		return pki.PEMBundle{}, fmt.Errorf("reading the request: %w", err)
	}
	now, asked := i.now(), template.NotAfter.Sub(template.NotBefore)
	template.NotBefore, template.NotAfter = now.Add(-i.Backdate), now.Add(min(asked, i.Lifetime))
	bundle, err := pki.SignCSRTemplate(i.chain, i.key, template)
	if err != nil {
		return pki.PEMBundle{}, fmt.Errorf("signing: %w", err)
	}
	return bundle, nil
}
