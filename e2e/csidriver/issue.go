package csidriver

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"software.sslmate.com/src/go-pkcs12"

	"example.io/mtls-injector/e2e/internal/atomicdir"
)

// The labels by which the driver finds its requests again.
const (
	NodeLabel   = Prefix + "node-id-hash"
	VolumeLabel = Prefix + "volume-id-hash"
)

// account is the driver's own service account, as its chart installs it.
const account = "system:serviceaccount:cert-manager:cert-manager-csi-driver"

const pollInterval = 100 * time.Millisecond

// lookInterval is how often the driver looks whether a certificate is due: one that is due
// when it comes is replaced after that.
const lookInterval = time.Second

// issue gets a certificate for the volume and writes its files. The caller holds
// the volume's lock.
func (d *Driver) issue(ctx context.Context, v *volume) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(v.gone, cancel)()
	req, err := Parse(v.pod, v.name)
	if err != nil {
		return err
	}
	key := v.key
	if key == nil || !req.ReuseKey {
		if key, err = generateKey(req); err != nil {
			return err
		}
	}
	cr, err := d.request(v, req, key)
	if err != nil {
		return err
	}
	if err := d.removeOld(ctx, v); err != nil {
		return err
	}
	if err := d.opts.Client.Create(ctx, cr); err != nil {
		return fmt.Errorf("submitting request: %w", err)
	}
	if err := d.waitFor(ctx, cr); err != nil {
		return fmt.Errorf("waiting for request: %w", err)
	}
	chain, err := pki.DecodeX509CertificateChainBytes(cr.Status.Certificate)
	if err != nil {
		return fmt.Errorf("reading the issued certificate: %w", err)
	}
	files, err := files(req, key, cr, chain)
	if err != nil {
		return err
	}
	if err := atomicdir.Write(d.DataDir(v.id), files, atomicdir.Options{Mode: dirMode, GID: req.GID}); err != nil {
		return err
	}
	v.key, v.next, v.backoff = key, renewAt(chain[0], req.RenewBefore), 0
	if soonest := d.opts.Clock.Now().Add(lookInterval); v.next.Before(soonest) {
		v.next = soonest
	}
	return d.note(v)
}

// removeOld removes the volume's oldest requests, so that with the next one there are no
// more than MaxRequests.
func (d *Driver) removeOld(ctx context.Context, v *volume) error {
	if d.opts.MaxRequests == 0 {
		return nil
	}
	var list cmapi.CertificateRequestList
	labels := client.MatchingLabels{NodeLabel: labelHash(d.opts.Node), VolumeLabel: labelHash(v.id)}
	if err := d.opts.Client.List(ctx, &list, client.InNamespace(v.pod.Namespace), labels); err != nil {
		return fmt.Errorf("cleaning up stale requests: %w", err)
	}
	slices.SortFunc(list.Items, func(a, b cmapi.CertificateRequest) int {
		return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) // newest first
	})
	for i := d.opts.MaxRequests - 1; i < len(list.Items); i++ {
		if err := d.opts.Client.Delete(ctx, &list.Items[i]); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("cleaning up stale requests: %w", err)
		}
	}
	return nil
}

// request makes the CertificateRequest as the driver does.
func (d *Driver) request(v *volume, req *Request, key crypto.Signer) (*cmapi.CertificateRequest, error) {
	der, err := pki.EncodeCSR(&x509.CertificateRequest{
		Subject:     req.Subject,
		RawSubject:  req.RawSubject,
		DNSNames:    req.DNSNames,
		URIs:        req.URIs,
		IPAddresses: req.IPAddresses,
	}, key)
	if err != nil {
		return nil, fmt.Errorf("making the certificate signing request: %w", err)
	}
	return &cmapi.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   v.pod.Namespace,
			Name:        uuid.NewString(),
			Labels:      map[string]string{NodeLabel: labelHash(d.opts.Node), VolumeLabel: labelHash(v.id)},
			Annotations: req.Annotations,
			OwnerReferences: []metav1.OwnerReference{
				{APIVersion: "v1", Kind: "Pod", Name: v.pod.Name, UID: v.pod.UID},
			},
		},
		Spec: cmapi.CertificateRequestSpec{
			Request:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			IssuerRef: req.Issuer,
			Duration:  &metav1.Duration{Duration: req.Duration},
			IsCA:      req.IsCA,
			Usages:    req.Usages,
			// cert-manager's webhook would fill these in from who creates the request.
			Username: account,
			Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:cert-manager", "system:authenticated"},
		},
	}, nil
}

// waitFor waits until the request is signed, and keeps its latest state in cr. When time
// is up the error is what the request was last waiting for.
func (d *Driver) waitFor(ctx context.Context, cr *cmapi.CertificateRequest) error {
	pending := ""
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (done bool, err error) {
		err = d.opts.Client.Get(ctx, client.ObjectKeyFromObject(cr), cr)
		if err == nil {
			done, pending, err = verdict(cr)
		} else if !apierrors.IsNotFound(err) {
			err = nil // the driver reads from its cache: an API server that is away is no matter
		}
		return done, err
	})
	if err != nil && ctx.Err() != nil && pending != "" {
		return errors.New(pending)
	}
	return err
}

// verdict tells whether the request is signed, and if not, what is missing. A final
// refusal is an error.
func verdict(cr *cmapi.CertificateRequest) (signed bool, pending string, err error) {
	if apiutil.CertificateRequestIsDenied(cr) {
		cond := apiutil.GetCertificateRequestCondition(cr, cmapi.CertificateRequestConditionDenied)
		return false, "", fmt.Errorf("request %q has been denied by the approval plugin: %s", cr.Name, cond.Message)
	}
	ready := apiutil.GetCertificateRequestCondition(cr, cmapi.CertificateRequestConditionReady)
	switch {
	case ready == nil && !apiutil.CertificateRequestIsApproved(cr):
		return false, "request has not yet been approved by approval plugin", nil
	case ready == nil:
		return false, "request has no ready condition", nil
	case ready.Reason == cmapi.CertificateRequestReasonFailed:
		return false, "", fmt.Errorf("request %q has failed: %s", cr.Name, ready.Message)
	case ready.Reason == cmapi.CertificateRequestReasonIssued && len(cr.Status.Certificate) > 0:
		return true, "", nil
	case ready.Reason == cmapi.CertificateRequestReasonPending:
		return false, "request pending: " + ready.Message, nil
	default:
		return false, fmt.Sprintf("unrecognised Ready condition state (%s): %s", ready.Reason, ready.Message), nil
	}
}

// files are what the driver writes for an issued certificate.
func files(req *Request, key crypto.Signer, cr *cmapi.CertificateRequest, chain []*x509.Certificate) (map[string]atomicdir.File, error) {
	keyPEM, err := pki.EncodePrivateKey(key, req.KeyEncoding)
	if err != nil {
		return nil, fmt.Errorf("encoding the private key: %w", err)
	}
	out := map[string]atomicdir.File{
		req.CAFile:          {Data: cr.Status.CA, Mode: fileMode},
		req.CertificateFile: {Data: cr.Status.Certificate, Mode: fileMode},
		req.KeyFile:         {Data: keyPEM, Mode: fileMode},
	}
	if req.KeystoreFile == "" {
		return out, nil
	}
	keystore, err := pkcs12.LegacyRC2.Encode(key, chain[0], chain[1:], req.KeystorePassword)
	if err != nil {
		return nil, fmt.Errorf("making the PKCS #12 keystore: %w", err)
	}
	out[req.KeystoreFile] = atomicdir.File{Data: keystore, Mode: fileMode}
	return out, nil
}

func generateKey(req *Request) (crypto.Signer, error) {
	switch req.KeyAlgorithm {
	case x509.RSA:
		return pki.GenerateRSAPrivateKey(req.KeySize)
	case x509.ECDSA:
		return pki.GenerateECPrivateKey(req.KeySize)
	case x509.Ed25519:
		return pki.GenerateEd25519PrivateKey()
	default:
		return nil, errors.New("unknown key algorithm")
	}
}
