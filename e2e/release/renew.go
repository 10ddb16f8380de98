package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Renew does what cmctl renew does to a Certificate of the release, and waits until it has
// been issued anew.
func (s *Stage) Renew(ctx context.Context, name string) error {
	cert := &cmapi.Certificate{}
	key := client.ObjectKey{Namespace: Namespace, Name: name}
	revision := 0
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if err := s.Client.Get(ctx, key, cert); err != nil {
			return err
		}
		if cert.Status.Revision != nil {
			revision = *cert.Status.Revision
		}
		apiutil.SetCertificateCondition(cert, cert.Generation, cmapi.CertificateConditionIssuing, cmmeta.ConditionTrue, "ManuallyTriggered", "renewed by hand")
		return s.Client.Status().Update(ctx, cert)
	})
	if err != nil {
		return fmt.Errorf("asking for Certificate %s anew: %w", name, err)
	}
	return s.WaitFor(ctx, "Certificate "+name+" to be issued anew", func(ctx context.Context) error {
		if err := s.Client.Get(ctx, key, cert); err != nil {
			return err
		}
		if cert.Status.Revision == nil || *cert.Status.Revision <= revision {
			return errors.New("it is not")
		}
		return nil
	})
}

// Secret returns a Secret of the release's namespace.
func (s *Stage) Secret(ctx context.Context, name string) (*corev1.Secret, error) {
	var secret corev1.Secret
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: name}, &secret); err != nil {
		return nil, fmt.Errorf("getting Secret %s: %w", name, err)
	}
	return &secret, nil
}

// AwaitTrust waits until the API server has been told a CA, in PEM, for the webhook.
func (s *Stage) AwaitTrust(ctx context.Context, ca func(context.Context) ([]byte, error)) error {
	return s.WaitFor(ctx, "the API server to be told the CA", func(ctx context.Context) error {
		want, err := ca(ctx)
		if err != nil {
			return err
		}
		var config admissionv1.MutatingWebhookConfiguration
		if err := s.Client.Get(ctx, client.ObjectKey{Name: Name}, &config); err != nil {
			return err
		}
		for i := range config.Webhooks {
			if !bytes.Contains(config.Webhooks[i].ClientConfig.CABundle, bytes.TrimSpace(want)) {
				return errors.New("it is not")
			}
		}
		return nil
	})
}

// CAOf returns a function that reads the certificate of the CA in a Secret, for AwaitTrust.
func (s *Stage) CAOf(name string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		secret, err := s.Secret(ctx, name)
		if err != nil {
			return nil, err
		}
		return secret.Data[corev1.TLSCertKey], nil
	}
}
