package policy

import (
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// requester is a kind of user who asks for certificates. The name that cert-manager notes
// in a request is that of whoever made it: its webhook sees to that.
type requester struct {
	name string
	// who is the rule about the request's user, which RBAC alone cannot tell from others
	// that were given the same right.
	who validationRule
	// spiffeID is the term in CEL for the SPIFFE ID that the user may ask for, and whose
	// says of which service account that is.
	spiffeID func(trustDomain string) string
	whose    string
	// perPod is what stands before the name of a headless Service: a regular expression.
	// commonName says whether a common name may have it.
	perPod     string
	commonName bool
	// may is who is given the right to use the policies.
	may rbacv1.Subject
}

// requesters returns the CSI driver, or the pods in whose name it asks, and cert-manager.
func requesters(o *Options) []*requester {
	csi := ofAccount("csi", "cert-manager's CSI driver", o.CSIDriver)
	if o.UseTokenRequest {
		csi = &requester{
			name: "csi",
			who: validationRule{
				Rule:    `isServiceAccount(cr.username) && serviceAccount(cr.username).getNamespace() == cr.namespace`,
				Message: "must be requested by a service account of the request's namespace",
			},
			spiffeID: ownSPIFFEID,
			whose:    "the service account that asks",
			may:      rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts"},
		}
	}
	csi.perPod, csi.commonName = "("+label+"[.])+", true // the names of pods may have dots
	companion := ofAccount("companion", "cert-manager", o.CertManager)
	companion.perPod = "[*][.]"
	return []*requester{csi, companion}
}

// ofAccount returns a service account that asks for all pods.
func ofAccount(name, title string, account types.NamespacedName) *requester {
	user := "system:serviceaccount:" + account.Namespace + ":" + account.Name
	return &requester{
		name: name,
		who: validationRule{
			Rule:    "cr.username == " + quote(user),
			Message: "must be requested by " + title + ", " + user,
		},
		spiffeID: anySPIFFEID,
		whose:    "a service account of the request's namespace",
		may:      rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name},
	}
}

// rbac returns the right to use exactly these policies. There must be one at least: a rule
// without names would be about all policies.
func (q *requester) rbac(policies []string) (*rbacv1.ClusterRole, *rbacv1.ClusterRoleBinding) {
	meta := metav1.ObjectMeta{Name: fmt.Sprintf("%s%s-policies", prefix, q.name), Labels: commonLabels()}
	role := &rbacv1.ClusterRole{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"},
		ObjectMeta: meta,
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{apiGroup}, Resources: []string{resource}, ResourceNames: policies, Verbs: []string{"use"},
		}},
	}
	binding := &rbacv1.ClusterRoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRoleBinding"},
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
		Subjects:   []rbacv1.Subject{q.may},
	}
	return role, binding
}
