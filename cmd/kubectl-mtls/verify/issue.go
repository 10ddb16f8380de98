package verify

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/intent"
)

const (
	// issuedFor is how long the certificate lasts: the least that policies allow.
	issuedFor = time.Hour
	// issueTimeout is how long an issuer may take.
	issueTimeout  = 30 * time.Second
	deleteTimeout = 10 * time.Second
	issuePoll     = 100 * time.Millisecond
	requestName   = "kubectl-mtls-verify-"
	commonName    = "kubectl-mtls-verify"
)

// issue has a client certificate issued for the check. The key is in memory only, and the
// request is deleted whatever happens. Where none could be had the facts say why, and all
// else is checked.
func (o *Options) issue(ctx context.Context, f *facts) (*tls.Certificate, error) {
	if missing := o.missingRights(ctx, f.namespace); len(missing) > 0 {
		f.NoOwn = "you may not " + strings.Join(missing, ", ") + " CertificateRequests, which --issue takes"
		return nil, nil
	}
	id, err := o.clientID(f)
	if err != nil {
		return nil, err
	}
	key, err := newKey(f.Intent)
	if err != nil {
		return nil, fmt.Errorf("key for the check: %w", err)
	}
	request, err := newRequest(f, id, key)
	if err != nil {
		return nil, fmt.Errorf("request for the check: %w", err)
	}
	if err := o.cluster.Create(ctx, request); err != nil {
		f.NoOwn = "the CertificateRequest could not be made: " + err.Error()
		return nil, ctx.Err()
	}
	defer o.remove(ctx, request)
	signed, err := o.await(ctx, request)
	if err != nil {
		f.NoOwn = fmt.Sprintf("no client certificate was issued by %s: %v", f.issuer, err)
		return nil, ctx.Err()
	}
	certificate := &tls.Certificate{PrivateKey: key}
	for block, rest := pem.Decode(signed); block != nil; block, rest = pem.Decode(rest) {
		certificate.Certificate = append(certificate.Certificate, block.Bytes)
	}
	f.OwnSource = fmt.Sprintf("issued by %s for the check", f.issuer)
	f.learnIntermediates(certificate.Certificate)
	return certificate, nil
}

// learnIntermediates keeps what came with the certificate: the pod's may have the same above.
func (f *facts) learnIntermediates(chain [][]byte) {
	for i, der := range chain {
		if ca, err := x509.ParseCertificate(der); err == nil && i > 0 {
			f.Intermediates = append(f.Intermediates, ca)
		}
	}
}

// missingRights asks beforehand, so that nothing is made that cannot be deleted.
func (o *Options) missingRights(ctx context.Context, namespace string) []string {
	var missing []string
	for _, verb := range [...]string{"create", "get", "delete"} {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: namespace, Verb: verb, Group: cmapi.SchemeGroupVersion.Group, Resource: "certificaterequests",
			},
		}}
		if err := o.cluster.Create(ctx, review); err != nil || review.Status.Allowed {
			continue // who may not ask will see
		}
		missing = append(missing, verb)
		o.cluster.Gaps.Add(kube.Gap{
			Verb: verb, Group: cmapi.SchemeGroupVersion.Group, Resource: "certificaterequests", Namespace: namespace,
			For: "whether a client of its own CA is let in",
		})
	}
	return missing
}

// clientID is the SPIFFE ID to ask for: the pod's own, or that of another service account.
func (o *Options) clientID(f *facts) (*url.URL, error) {
	if f.SPIFFEID == "" {
		return nil, errors.New("--issue: " + f.NoIntent + ", so it has no issuer; --client-cert-file shows a certificate of yours")
	}
	id, err := url.Parse(f.SPIFFEID)
	if err != nil {
		return nil, fmt.Errorf("SPIFFE ID: %w", err)
	}
	if o.ServiceAccount != "" {
		id.Path = id.Path[:strings.LastIndex(id.Path, "/")+1] + o.ServiceAccount
	}
	return id, nil
}

// newKey makes a key of the kind that the pod has: an issuer's policy may allow no other.
func newKey(in *intent.Intent) (crypto.Signer, error) {
	if in != nil {
		switch in.Key.Algorithm {
		case cmapi.RSAKeyAlgorithm:
			return rsa.GenerateKey(rand.Reader, in.Key.Size)
		case cmapi.Ed25519KeyAlgorithm:
			_, key, err := ed25519.GenerateKey(rand.Reader)
			return key, err
		case cmapi.ECDSAKeyAlgorithm:
			for _, curve := range [...]elliptic.Curve{elliptic.P384(), elliptic.P521()} {
				if curve.Params().BitSize == in.Key.Size {
					return ecdsa.GenerateKey(curve, rand.Reader)
				}
			}
		}
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func newRequest(f *facts, id *url.URL, key crypto.Signer) (*cmapi.CertificateRequest, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{}, URIs: []*url.URL{id},
	}, key)
	if err != nil {
		return nil, err
	}
	return &cmapi.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: f.namespace, GenerateName: requestName,
			Labels: map[string]string{intent.LabelManagedBy: commonName},
		},
		Spec: cmapi.CertificateRequestSpec{
			Request:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			IssuerRef: cmmeta.IssuerReference{Name: f.issuer.Name, Kind: f.issuer.Kind, Group: f.issuer.Group},
			Duration:  &metav1.Duration{Duration: issuedFor},
			Usages:    []cmapi.KeyUsage{cmapi.UsageDigitalSignature, cmapi.UsageClientAuth},
		},
	}, nil
}

// await waits until the request is signed.
func (o *Options) await(ctx context.Context, request *cmapi.CertificateRequest) ([]byte, error) {
	var last string
	err := wait.PollUntilContextTimeout(ctx, issuePoll, issueTimeout, true, func(ctx context.Context) (bool, error) {
		if err := o.cluster.Get(ctx, client.ObjectKeyFromObject(request), request); err != nil {
			return false, err
		}
		for _, c := range request.Status.Conditions {
			last = c.Message
			failed := c.Type == cmapi.CertificateRequestConditionReady && c.Reason == cmapi.CertificateRequestReasonFailed
			denied := c.Type == cmapi.CertificateRequestConditionDenied || c.Type == cmapi.CertificateRequestConditionInvalidRequest
			if failed || denied && c.Status == cmmeta.ConditionTrue {
				return false, fmt.Errorf("%s: %s", c.Reason, c.Message)
			}
		}
		return len(request.Status.Certificate) > 0, nil
	})
	switch {
	case err != nil && wait.Interrupted(err) && last == "":
		return nil, fmt.Errorf("nobody approved the request within %s", issueTimeout)
	case err != nil && wait.Interrupted(err):
		return nil, fmt.Errorf("not within %s: %s", issueTimeout, last)
	}
	return request.Status.Certificate, err
}

// remove deletes the request, also when the command is interrupted.
func (o *Options) remove(ctx context.Context, request *cmapi.CertificateRequest) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
	defer cancel()
	if err := o.cluster.Delete(ctx, request); client.IgnoreNotFound(err) != nil {
		_, _ = fmt.Fprintf(o.ErrOut, "the CertificateRequest %s/%s is left behind: %v\n", request.Namespace, request.Name, err)
	}
}
