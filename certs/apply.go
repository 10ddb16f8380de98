package certs

// How a companion is compared and written.

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmac "github.com/cert-manager/cert-manager/pkg/client/applyconfigurations/certmanager/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// FieldManager is the name under which the controller applies.
const FieldManager = "mtls-injector"

// applyConfiguration turns a Certificate into what is sent: the fields that are set, and
// nothing of the status.
func applyConfiguration(cert *cmapi.Certificate) (*cmac.CertificateApplyConfiguration, error) {
	raw, err := json.Marshal(cert)
	if err != nil {
		return nil, fmt.Errorf("encode Certificate: %w", err)
	}
	apply := &cmac.CertificateApplyConfiguration{}
	if err := json.Unmarshal(raw, apply); err != nil {
		return nil, fmt.Errorf("decode Certificate: %w", err)
	}
	apply.Status = nil
	return apply, nil
}

// digestOf stands for all that is asked for.
func digestOf(cert *cmapi.Certificate) (string, error) {
	raw, err := json.Marshal(cert)
	if err != nil {
		return "", fmt.Errorf("encode Certificate: %w", err)
	}
	sum := sha256.Sum256(raw)
	return string(sum[:]), nil
}

// isCurrent reports whether applying would change nothing. What is ours in the live
// object is told from its managed fields: a field that somebody else took over, or that
// is no longer wanted, makes a difference; a field that somebody added does not.
func isCurrent(live *cmapi.Certificate, desired *cmac.CertificateApplyConfiguration) (bool, error) {
	ours, err := cmac.ExtractCertificate(live, FieldManager)
	if err != nil {
		return false, fmt.Errorf("managed fields of Certificate %s: %w", live.Name, err)
	}
	return equality.Semantic.DeepEqual(ours, desired), nil
}

// isOurs reports whether a Certificate that has the companion's name is the companion:
// labelled as such, and controlled by one of the pod's owners or by nobody. (By nobody:
// the owner was deleted with --cascade=orphan, or a backup was restored.) An owner may be
// a namesake of the former one, whose garbage has not been collected yet. Where owners
// are not what the workload is named after (bare pods of one generateName, Jobs that only
// look like a CronJob's), they share the companion, whichever of them owns it now.
func isOurs(live *cmapi.Certificate, owners chain, workload string) bool {
	if live.Labels[LabelManagedBy] != ManagedBy {
		return false
	}
	controller := metav1.GetControllerOfNoCopy(live)
	if controller == nil {
		return true
	}
	for i := range owners {
		o := &owners[i]
		if isKind(controller, o.APIVersion, o.Kind) && (controller.Name == o.Name || o.Name != workload) {
			return true
		}
	}
	return false
}

// write applies the desired state over the live object, or creates it when live is nil.
// An object that is ours is brought back by force, and only it: the UID is a
// precondition. A new one is applied without force, so that one made by somebody else
// since is a conflict and stays as it is.
func (r *reconciler) write(ctx context.Context, live *cmapi.Certificate, desired *cmac.CertificateApplyConfiguration) error {
	opts := []client.ApplyOption{client.FieldOwner(FieldManager)}
	if live != nil {
		desired.WithUID(live.UID)
		opts = append(opts, client.ForceOwnership)
	}
	if err := r.cached.Apply(ctx, desired, opts...); err != nil {
		r.metrics.applied(failed)
		return fmt.Errorf("apply Certificate %s: %w", *desired.Name, err)
	}
	return nil
}
