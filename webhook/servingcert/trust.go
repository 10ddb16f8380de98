package servingcert

// Trust before use: which certificate may be served, given what the API servers trust.

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"sync"
	"time"
)

// trust knows since when which CA has been in the caBundles, and picks the certificate to
// serve accordingly. It is safe for concurrent use.
type trust struct {
	// grace is how long a CA must have been in all caBundles before a certificate of its is
	// served in place of a good one. API servers learn of it by a watch, each for itself.
	grace time.Duration
	// overlap is how long a CA stays that does not sign any more.
	overlap time.Duration
	now     func() time.Time

	mu       sync.Mutex
	observed bool
	known    map[string]known // by their DER
	newest   issued
	serving  issued
	// settled says that what is served has once been trusted for the grace period.
	settled bool
}

// known is a CA that is in a caBundle or should be.
type known struct {
	ca *x509.Certificate
	// seen is since when it has been known, everywhere since when it has been in every
	// caBundle without a break; zero when it is not.
	seen, everywhere time.Time
}

// issued is a certificate and the CA that has signed it; nil when that is not known yet.
type issued struct {
	pair *tls.Certificate
	ca   *x509.Certificate
}

// observe takes down what the caBundles hold now. current is the CA that signs, or nil when
// there is none. Without any caBundle nobody calls the webhook, so nothing stands against
// using the CA.
func (t *trust) observe(current *x509.Certificate, bundles [][]*x509.Certificate) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, now := t.known, t.now()
	t.known = map[string]known{}
	for _, ca := range append(slices.Concat(bundles...), current, t.serving.ca) {
		if ca == nil {
			continue
		}
		k, ok := before[string(ca.Raw)]
		if !ok {
			k = known{ca: ca, seen: now}
		}
		switch everywhere := inAll(bundles, ca); {
		case !everywhere:
			k.everywhere = time.Time{}
		case k.everywhere.IsZero() && !t.observed && now.Sub(ca.NotBefore) >= 2*t.grace:
			// It was there before this process was, and will have been since soon after it was
			// made. So a restart need not wait.
			k.everywhere = now.Add(-t.grace)
		case k.everywhere.IsZero():
			k.everywhere = now
		}
		t.known[string(ca.Raw)] = k
	}
	t.observed = true
}

func inAll(bundles [][]*x509.Certificate, ca *x509.Certificate) bool {
	for _, bundle := range bundles {
		if !slices.ContainsFunc(bundle, ca.Equal) {
			return false
		}
	}
	return true
}

// choose returns the certificate to serve, given the latest that was signed, or nil when
// there is none that an API server would accept.
//
// A good certificate is replaced only after the grace period: of its successor's CA, and of
// the successor itself, for the clock of an API server may be behind. One that is not good,
// or none, is replaced as soon as the successor's CA is in the caBundles.
func (t *trust) choose(newest *tls.Certificate) *tls.Certificate {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.newest.pair != newest {
		t.newest = issued{pair: newest}
	}
	if t.newest.ca == nil {
		t.newest.ca = t.issuer(newest.Leaf)
	}
	since := t.since(t.newest.ca)
	switch {
	case newest == t.serving.pair || since.IsZero():
	case !t.usable(t.serving), t.old(since) && t.old(newest.Leaf.NotBefore):
		t.serving = t.newest
	}
	return t.serving.pair
}

// issuer returns the CA that has signed the certificate, if it is known.
func (t *trust) issuer(leaf *x509.Certificate) *x509.Certificate {
	for _, k := range t.known {
		if leaf.CheckSignatureFrom(k.ca) == nil {
			return k.ca
		}
	}
	return nil
}

// since is when the CA came into every caBundle, and zero when it is not there.
func (t *trust) since(ca *x509.Certificate) time.Time {
	if ca == nil {
		return time.Time{}
	}
	return t.known[string(ca.Raw)].everywhere
}

// old reports whether the grace period after that moment is over.
func (t *trust) old(moment time.Time) bool { return t.now().Sub(moment) >= t.grace }

// usable reports whether API servers accept the certificate.
func (t *trust) usable(i issued) bool {
	return i.pair != nil && !t.now().After(i.pair.Leaf.NotAfter) && !t.since(i.ca).IsZero()
}

// check returns why API servers do not accept the certificate that is served, whose
// lifetime is for others to check.
func (t *trust) check() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	since := t.since(t.serving.ca)
	switch {
	case since.IsZero():
		return errors.New("the serving certificate's CA is not in the caBundle of every webhook configuration of ours")
	case !t.settled && !t.old(since):
		// Once only: when somebody overwrites a caBundle, all replicas repair it, and must not
		// all be away for the grace period.
		return errors.New("the serving certificate's CA is so new in the caBundle that some API server may not know it yet")
	default:
		t.settled = true
		return nil
	}
}

// inUse is the CA of the certificate that is served, or nil.
func (t *trust) inUse() *x509.Certificate {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.serving.ca
}

// outlived returns whether a CA's time is over, given the one that signs: when both have
// been around long enough for every replica to have changed over. A CA that is younger than
// the one that signs goes, too: nobody can plant one that stays.
func (t *trust) outlived(current *x509.Certificate) func(*x509.Certificate) bool {
	return func(ca *x509.Certificate) bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		since, k := t.since(current), t.known[string(ca.Raw)]
		past := t.now().Add(-t.overlap)
		return !ca.Equal(current) && !since.IsZero() && !since.After(past) && k.ca != nil && !k.seen.After(past)
	}
}
