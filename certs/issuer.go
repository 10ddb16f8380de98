package certs

// Why a companion is not signed: asked for after a while, told once, and never a reason to
// hurry.

import (
	"context"
	"fmt"
	"strconv"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// issuerPatience is what an issuer has to sign before anybody is told.
	issuerPatience = 30 * time.Second
	// longestPatience bounds the time between two looks, which doubles.
	longestPatience = 5 * time.Minute
)

// checkIssuer tells why the companion is not signed, and returns when to look again; 0
// when it is.
func (r *reconciler) checkIssuer(ctx context.Context, l *look) (time.Duration, error) {
	e := l.entry
	if !isPending(l.cert) {
		e.toldPending, e.patience = "", 0
		return 0, nil
	}
	if wait := pendingSince(l.cert).Add(issuerPatience).Sub(r.now()); wait > 0 && failure(l.cert) == nil {
		return wait, nil
	}
	reason, err := WhyPending(ctx, r.live, l.cert)
	if err != nil {
		return 0, err
	}
	if tellOnce(&e.toldPending, reason) {
		r.tell(l, corev1.EventTypeWarning, reasonIssuerNotReady, actionIssue,
			fmt.Sprintf("Certificate %s is not signed by %s: %s", l.cert.Name, l.in.Issuer, reason))
	}
	e.patience = min(max(2*e.patience, issuerPatience), longestPatience)
	return e.patience, nil
}

// WhyPending returns cert-manager's own reason and message for a Certificate that is not
// signed: of the failed attempt, or of the request that waits, which it reads. They hold for
// every kind of issuer.
func WhyPending(ctx context.Context, reader client.Reader, cert *cmapi.Certificate) (string, error) {
	if c := failure(cert); c != nil {
		return c.Reason + ": " + c.Message, nil
	}
	// cert-manager cuts a very long name, and adds a hash: then nothing is found.
	key := client.ObjectKey{Namespace: cert.Namespace, Name: cert.Name + "-" + strconv.Itoa(revision(cert)+1)}
	var request cmapi.CertificateRequest
	err := reader.Get(ctx, key, &request)
	switch {
	case apierrors.IsNotFound(err):
		if c := condition(cert, cmapi.CertificateConditionReady); c != nil {
			return c.Reason + ": " + c.Message, nil
		}
		return "cert-manager has not looked at it", nil
	case err != nil:
		return "", fmt.Errorf("get CertificateRequest %s: %w", key, err)
	}
	return whyWaiting(&request), nil
}

func whyWaiting(request *cmapi.CertificateRequest) string {
	approved := false
	for i := range request.Status.Conditions {
		c := &request.Status.Conditions[i]
		switch {
		case c.Type != cmapi.CertificateRequestConditionApproved:
			return c.Reason + ": " + c.Message
		case c.Status == cmmeta.ConditionTrue:
			approved = true
		}
	}
	if !approved {
		return "CertificateRequest " + request.Name + " waits for approval"
	}
	return "no issuer has answered CertificateRequest " + request.Name
}
