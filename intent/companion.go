package intent

import (
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The labels of a companion Certificate and of its Secret that say that they are ours.
const (
	LabelCertType  = "cert-type"
	CertTypeMTLS   = "mtls"
	LabelManagedBy = "app.kubernetes.io/managed-by"
	ManagedBy      = "mtls-injector"
)

// IsCompanionSecret reports whether a Secret, by its metadata, was written by cert-manager
// for the companion Certificate of its name. Who may write Secrets in a namespace can
// forge that; it keeps the project's hands off what somebody made for another purpose.
func IsCompanionSecret(secret metav1.Object) bool {
	labels := secret.GetLabels()
	return labels[LabelCertType] == CertTypeMTLS && labels[LabelManagedBy] == ManagedBy &&
		secret.GetAnnotations()[cmapi.CertificateNameKey] == secret.GetName()
}
