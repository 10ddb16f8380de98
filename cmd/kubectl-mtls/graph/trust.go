package graph

// Who signs, and who is trusted, as far as anybody may see it: CertificateRequests show what
// was signed and by which CA, and the bundle is a ConfigMap. No Secret is read.

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/intent"
)

// trust is what is known of who signs and who is trusted.
type trust struct {
	cluster *kube.Cluster
	// authorities are the CAs by the names of issuers, leaves the certificates by those of
	// companions, with their namespaces.
	authorities map[string]signed
	leaves      map[string]*leaf
	bundles     map[string]*roots
}

// signed is a CA, and when it was last seen to sign.
type signed struct {
	ca *x509.Certificate
	at time.Time
}

// authority is an issuer, and its CA if that is known.
type authority struct {
	name string
	ca   *x509.Certificate
}

func (a authority) subject() string {
	if a.ca == nil {
		return ""
	}
	return a.ca.Subject.String()
}

func (a authority) orName() string {
	if a.ca == nil {
		return "the CA"
	}
	return a.subject()
}

// leaf is a companion's certificate.
type leaf struct {
	chain    []*x509.Certificate
	revision int
}

// roots is a bundle.
type roots struct {
	name string
	// fingerprint tells bundles of one name and different content apart.
	fingerprint string
	certs       []*x509.Certificate
	// absent says that there is none; hidden, that it may not be seen.
	absent, hidden bool
}

func (r *roots) subjects() []string {
	var all []string
	for _, cert := range r.certs {
		all = append(all, cert.Subject.String())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, cert := range certs {
		p.AddCert(cert)
	}
	return p
}

// verify checks a chain against the bundle, for whatever usage.
func (r *roots) verify(chain []*x509.Certificate, now time.Time) error {
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: pool(r.certs), Intermediates: pool(chain[1:]), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err
}

// trust reports whether what the issuer signs is trusted.
func (r *roots) trust(issuer authority, now time.Time) (ok, known bool) {
	switch {
	case r.absent:
		return false, true
	case r.hidden || issuer.ca == nil:
		return false, false
	}
	return r.verify([]*x509.Certificate{issuer.ca}, now) == nil, true
}

// why says in a few words why it is not trusted.
func (r *roots) why(issuer authority, now time.Time) string {
	switch {
	case r.absent:
		return "no bundle"
	case issuer.ca != nil && !now.Before(issuer.ca.NotAfter):
		return "expired"
	}
	return "different CA"
}

// problems says what of the certificate keeps its bearer from talking.
func (l *leaf) problems(in *intent.Intent, roots *roots, now time.Time) []string {
	var problems []string
	lacks := func(wanted bool, usage x509.ExtKeyUsage, name string) {
		if wanted && !slices.Contains(l.chain[0].ExtKeyUsage, usage) {
			problems = append(problems, "missing usage: its certificate is not for "+name)
		}
	}
	lacks(in.Role.IsServer(), x509.ExtKeyUsageServerAuth, "server auth")
	lacks(in.Role.IsClient(), x509.ExtKeyUsageClientAuth, "client auth")
	if !roots.absent && !roots.hidden && now.Before(l.chain[0].NotAfter) && roots.verify(l.chain, now) != nil {
		problems = append(problems, "different CA: its certificate is of "+l.chain[0].Issuer.String()+", which its own bundle does not trust")
	}
	return problems
}

const (
	annotationCertificate = "cert-manager.io/certificate-name"
	annotationRevision    = "cert-manager.io/certificate-revision"
)

// learn reads what was signed.
func learn(ctx context.Context, c *kube.Cluster, namespace string) (*trust, error) {
	t := &trust{cluster: c, authorities: map[string]signed{}, leaves: map[string]*leaf{}, bundles: map[string]*roots{}}
	var requests cmapi.CertificateRequestList
	if _, err := c.ReadAll(ctx, &requests, namespace, "which CA has signed what"); err != nil {
		return nil, err
	}
	for i := range requests.Items {
		t.add(&requests.Items[i])
	}
	return t, nil
}

func (t *trust) add(r *cmapi.CertificateRequest) {
	chain, err := certutil.ParseCertsPEM(r.Status.Certificate)
	if err != nil || len(chain) == 0 {
		return // not signed
	}
	name := r.Annotations[annotationCertificate]
	revision, _ := strconv.Atoi(r.Annotations[annotationRevision])
	key := r.Namespace + "/" + name
	if known := t.leaves[key]; name != "" && (known == nil || known.revision < revision) {
		t.leaves[key] = &leaf{chain: chain, revision: revision}
	}
	ca, err := certutil.ParseCertsPEM(r.Status.CA)
	if err != nil || len(ca) == 0 {
		return // not every issuer tells its CA
	}
	ref := r.Spec.IssuerRef
	issuer := issuerName(intent.Issuer{Name: ref.Name, Kind: cmp.Or(ref.Kind, "Issuer"), Group: ref.Group}, r.Namespace)
	if known, ok := t.authorities[issuer]; !ok || known.at.Before(chain[0].NotBefore) {
		t.authorities[issuer] = signed{ca: ca[0], at: chain[0].NotBefore}
	}
}

// issuerName names an issuer in the whole cluster.
func issuerName(issuer intent.Issuer, namespace string) string {
	if issuer.Kind == "Issuer" {
		return issuer.String() + " in " + namespace
	}
	return issuer.String()
}

func (t *trust) authorityOf(in *intent.Intent, namespace string) authority {
	name := issuerName(in.Issuer, namespace)
	return authority{name: name, ca: t.authorities[name].ca}
}

// rootsOf reads the bundle of a namespace, once.
func (t *trust) rootsOf(ctx context.Context, bundle intent.Bundle, namespace string) (*roots, error) {
	key := strings.Join([]string{string(bundle.Kind), bundle.Name, bundle.Key, namespace}, "/")
	if known := t.bundles[key]; known != nil {
		return known, nil
	}
	r := &roots{name: string(bundle.Kind) + "/" + bundle.Name}
	text, answer, err := t.read(ctx, bundle, namespace)
	if err != nil {
		return nil, err
	}
	switch answer {
	case kube.Absent:
		r.absent, r.fingerprint = true, "absent"
	case kube.Hidden:
		r.hidden = true
	case kube.Found:
		certs, err := certutil.ParseCertsPEM([]byte(text))
		r.certs, r.absent = certs, err != nil
		r.fingerprint = fingerprint(certs)
	}
	t.bundles[key] = r
	return r, nil
}

// read returns the bundle's certificates in PEM.
func (t *trust) read(ctx context.Context, bundle intent.Bundle, namespace string) (string, kube.Answer, error) {
	const purpose = "which CAs the workloads trust"
	if bundle.Kind == intent.BundleClusterTrustBundle {
		mapping, err := t.cluster.RESTMapper().RESTMapping(schema.GroupKind{Group: "certificates.k8s.io", Kind: "ClusterTrustBundle"})
		if err != nil {
			return "", kube.Absent, nil //nolint:nilerr // the API server has none
		}
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(mapping.GroupVersionKind)
		answer, err := t.cluster.Read(ctx, client.ObjectKey{Name: bundle.Name}, object, purpose)
		text, _, _ := unstructured.NestedString(object.Object, "spec", "trustBundle")
		return text, answer, err
	}
	var object corev1.ConfigMap
	answer, err := t.cluster.Read(ctx, client.ObjectKey{Namespace: namespace, Name: bundle.Name}, &object, purpose)
	return object.Data[bundle.Key], answer, err
}

func fingerprint(certs []*x509.Certificate) string {
	sums := make([]string, len(certs))
	for i, cert := range certs {
		sum := sha256.Sum256(cert.Raw)
		sums[i] = hex.EncodeToString(sum[:])
	}
	slices.Sort(sums)
	return strings.Join(slices.Compact(sums), ",")
}
