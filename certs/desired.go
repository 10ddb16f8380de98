package certs

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"example.io/mtls-injector/intent"
)

// The labels of a companion and of its Secret. The first two together say that it is
// ours: `kubectl get certificates,secrets -A -l cert-type=mtls`.
const (
	LabelCertType     = intent.LabelCertType
	CertTypeMTLS      = intent.CertTypeMTLS
	LabelManagedBy    = intent.LabelManagedBy
	ManagedBy         = intent.ManagedBy
	LabelRole         = intent.Prefix + "role"
	LabelWorkloadKind = intent.Prefix + "workload-kind"
	// LabelWorkload is the workload's name, or its beginning and a hash where the name
	// has more than 63 bytes. The annotation of the same key has it in full.
	LabelWorkload = intent.Prefix + "workload"
)

// Desired returns the companion Certificate of the intent's workload, without owner. It
// is a pure function, and complete: what is not in it was not asked for.
func Desired(in *intent.Intent) *cmapi.Certificate {
	labels := labelsOf(in)
	return &cmapi.Certificate{
		TypeMeta: metav1.TypeMeta{APIVersion: cmapi.SchemeGroupVersion.String(), Kind: cmapi.CertificateKind},
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   in.Namespace,
			Name:        in.CompanionName,
			Labels:      labels,
			Annotations: map[string]string{LabelWorkload: fullName(in.Workload)},
		},
		Spec: cmapi.CertificateSpec{
			SecretName:     in.CompanionName,
			SecretTemplate: &cmapi.CertificateSecretTemplate{Labels: maps.Clone(labels)},
			IssuerRef:      cmmeta.IssuerReference{Name: in.Issuer.Name, Kind: in.Issuer.Kind, Group: in.Issuer.Group},
			CommonName:     in.Identity.Subject.CommonName,
			Subject:        subjectOf(&in.Identity.Subject),
			DNSNames:       in.Identity.CompanionDNSNames(),
			URIs:           []string{in.Identity.SPIFFEID},
			Duration:       durationOf(in.Lifetime.Duration),
			RenewBefore:    durationOf(in.Lifetime.RenewBefore),
			Usages:         in.Usages,
			PrivateKey: &cmapi.CertificatePrivateKey{
				Algorithm: in.Key.Algorithm,
				Size:      in.Key.Size,
				Encoding:  cmapi.PKCS8, // the one encoding that every algorithm has
				// A new key with each renewal. cert-manager keeps the old key with Never,
				// which was its default up to 1.17.
				RotationPolicy: cmapi.RotationPolicyAlways,
			},
			RevisionHistoryLimit: new(int32(1)), // old CertificateRequests are of no use to anybody
		},
	}
}

func labelsOf(in *intent.Intent) map[string]string {
	return map[string]string{
		LabelCertType:     CertTypeMTLS,
		LabelManagedBy:    ManagedBy,
		LabelRole:         string(in.Role),
		LabelWorkloadKind: in.Workload.Kind,
		LabelWorkload:     labelValue(in.Workload.Name),
	}
}

// fullName writes the workload as kubectl does: Deployment.apps/web, Pod/web.
func fullName(w intent.Workload) string {
	gvk := schema.FromAPIVersionAndKind(w.APIVersion, w.Kind)
	return gvk.GroupKind().String() + "/" + w.Name
}

// labelValue shortens a name to what a label may hold, keeping different names different.
func labelValue(name string) string {
	if len(name) <= validation.LabelValueMaxLength {
		return name
	}
	const digits = 8
	sum := sha256.Sum256([]byte(name))
	begin := strings.TrimRight(name[:validation.LabelValueMaxLength-digits-1], "-.")
	return begin + "-" + hex.EncodeToString(sum[:])[:digits]
}

func subjectOf(s *intent.Subject) *cmapi.X509Subject {
	if len(s.Organizations)+len(s.OrganizationalUnits) == 0 {
		return nil
	}
	return &cmapi.X509Subject{Organizations: s.Organizations, OrganizationalUnits: s.OrganizationalUnits}
}

func durationOf(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
