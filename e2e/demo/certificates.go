package demo

import (
	"context"
	"crypto/x509"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// reportCertificates shows the companions and what the CSI driver has got, and checks
// that they say what was promised.
func (d *Demo) reportCertificates(ctx context.Context) error {
	companions, err := d.companionRows(ctx)
	if err != nil {
		return err
	}
	requests, err := d.requestRows(ctx)
	if err != nil {
		return err
	}
	d.out.line("  Companions, one for each workload: the identity of record")
	d.out.table([]string{"NAMESPACE", "CERTIFICATE", "READY", "EXPIRES", "NAMES"}, companions)
	d.out.line("")
	d.out.line("  CertificateRequests of the CSI driver, one for each pod")
	d.out.table([]string{"NAMESPACE", "POD", "READY", "EXPIRES", "NAMES"}, requests)
	d.out.line("")
	return d.compareKeys()
}

// awaitCompanions waits for the companion Certificate of each workload.
func (d *Demo) awaitCompanions(ctx context.Context) error {
	for i, p := range d.pods {
		if p.promise.skip != "" || i > 0 && d.pods[i-1].promise == p.promise {
			continue
		}
		crt, err := d.cluster.WaitForCertificate(ctx, p.Namespace, p.status.Companion)
		if err != nil {
			return err
		}
		if crt.Labels["cert-type"] != "mtls" {
			return fmt.Errorf("the Certificate %s/%s lacks the label cert-type=mtls", p.Namespace, crt.Name)
		}
		d.companions = append(d.companions, companion{pod: p, crt: crt})
	}
	d.out.step("the injector has made %d companion Certificates, and cert-manager has signed them", len(d.companions))
	return nil
}

// companion is the Certificate of a pod's workload.
type companion struct {
	pod *pod
	crt *cmapi.Certificate
}

func (d *Demo) companionRows(ctx context.Context) ([]row, error) {
	rows := make([]row, 0, len(d.companions))
	for _, c := range d.companions {
		key := client.ObjectKey{Namespace: c.crt.Namespace, Name: c.crt.Spec.SecretName}
		var secret corev1.Secret
		if err := d.cluster.Client.Get(ctx, key, &secret); err != nil {
			return nil, fmt.Errorf("reading the Secret of Certificate %s/%s: %w", c.crt.Namespace, c.crt.Name, err)
		}
		r, err := certificateRow(c.pod, c.crt.Name, secret.Data[corev1.TLSCertKey])
		if err != nil {
			return nil, fmt.Errorf("the Certificate %s/%s: %w", c.crt.Namespace, c.crt.Name, err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// requestRows finds the CertificateRequest of each pod whose key pair the CSI driver delivers.
func (d *Demo) requestRows(ctx context.Context) ([]row, error) {
	var list cmapi.CertificateRequestList
	if err := d.cluster.Client.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing CertificateRequests: %w", err)
	}
	var rows []row
	for _, p := range d.pods {
		if p.promise.delivery != intent.DeliveryCSI {
			continue
		}
		i := slices.IndexFunc(list.Items, func(cr cmapi.CertificateRequest) bool {
			return slices.ContainsFunc(cr.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == p.UID })
		})
		if i < 0 {
			return nil, fmt.Errorf("there is no CertificateRequest of pod %s/%s", p.Namespace, p.Name)
		}
		cr := &list.Items[i]
		if reason := apiutil.CertificateRequestReadyReason(cr); reason != cmapi.CertificateRequestReasonIssued {
			return nil, fmt.Errorf("the CertificateRequest of pod %s/%s is not issued but %s", p.Namespace, p.Name, reason)
		}
		r, err := certificateRow(p, p.Name, cr.Status.Certificate)
		if err != nil {
			return nil, fmt.Errorf("certificate of pod %s/%s: %w", p.Namespace, p.Name, err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// certificateRow checks that the certificate has the names that the pod's status tells,
// and shows it.
func certificateRow(p *pod, name string, chain []byte) (row, error) {
	cert, err := pki.DecodeX509CertificateBytes(chain)
	if err != nil {
		return row{}, fmt.Errorf("reading it: %w", err)
	}
	if len(cert.URIs) != 1 || cert.URIs[0].String() != p.status.SPIFFE {
		return row{}, fmt.Errorf("its SPIFFE ID is %v, not %s", cert.URIs, p.status.SPIFFE)
	}
	got, want := slices.Sorted(slices.Values(cert.DNSNames)), slices.Sorted(slices.Values(p.status.DNS))
	if !slices.Equal(got, want) {
		return row{}, fmt.Errorf("its DNS names are %v, not %v", got, want)
	}
	return row{cells: []string{p.Namespace, name, "yes", expiry(cert), names(cert)}}, nil
}

func expiry(cert *x509.Certificate) string {
	days := int(time.Until(cert.NotAfter).Round(time.Hour).Hours() / 24)
	return fmt.Sprintf("%s (%dd)", cert.NotAfter.Format(time.DateOnly), days)
}

// names shows what the certificate is for: DNS names, or a client's account.
func names(cert *x509.Certificate) string {
	if len(cert.DNSNames) == 0 {
		return "spiffe://…/sa/" + path.Base(cert.URIs[0].Path)
	}
	return shortNames(cert.DNSNames)
}

// shortNames shows the longest name, and how many more there are.
func shortNames(names []string) string {
	longest := slices.MaxFunc(names, func(a, b string) int { return len(a) - len(b) })
	if more := len(names) - 1; more > 0 {
		longest += " +" + strconv.Itoa(more)
	}
	return longest
}

// compareKeys checks that pods have keys of their own with csi, and share one with
// secret.
func (d *Demo) compareKeys() error {
	keys := map[promise]map[string]bool{}
	for _, p := range d.pods {
		if p.promise.skip != "" {
			continue
		}
		key, err := p.program.publicKey()
		if err != nil {
			return fmt.Errorf("pod %s/%s: %w", p.Namespace, p.Name, err)
		}
		if keys[p.promise] == nil {
			keys[p.promise] = map[string]bool{}
		}
		keys[p.promise][key] = true
	}
	var said []string
	for _, p := range promises() {
		want, owner := p.pods, "have a key each"
		if p.delivery == intent.DeliverySecret {
			want, owner = 1, "share the Secret's"
		}
		switch {
		case p.skip != "":
		case len(keys[p]) != want:
			return fmt.Errorf("the pods of %s have %d keys, not %d", p.name, len(keys[p]), want)
		case p.pods > 1:
			said = append(said, fmt.Sprintf("the %d pods of %s %s", p.pods, p.name, owner))
		}
	}
	d.out.note(2, "In the pods' files: "+strings.Join(said, "; ")+".")
	return nil
}
