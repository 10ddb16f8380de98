package agent

// Words for what is found.

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
)

// usageNames are those of cert-manager that a certificate can be checked for.
var usageNames = [...]struct {
	name  string
	usage x509.ExtKeyUsage
}{
	{"server auth", x509.ExtKeyUsageServerAuth},
	{"client auth", x509.ExtKeyUsageClientAuth},
}

// Usages returns the names that [Files.Usages] may have.
func Usages() []string {
	var names []string
	for _, u := range usageNames {
		names = append(names, u.name)
	}
	return names
}

func usageByName(name string) (x509.ExtKeyUsage, bool) {
	for _, u := range usageNames {
		if u.name == name {
			return u.usage, true
		}
	}
	return 0, false
}

// hasUsage says whether the certificate itself is good for the usage. Without any, it is
// good for all (RFC 5280, 4.2.1.12); but peers that are strict refuse that, and what we ask
// for always has them.
func hasUsage(cert *x509.Certificate, usage x509.ExtKeyUsage) bool {
	return slices.Contains(cert.ExtKeyUsage, usage) || slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// describeUsages says what the certificate is good for.
func describeUsages(cert *x509.Certificate) string {
	var names []string
	for _, u := range usageNames {
		if slices.Contains(cert.ExtKeyUsage, u.usage) {
			names = append(names, u.name)
		}
	}
	if others := len(cert.ExtKeyUsage) - len(names) + len(cert.UnknownExtKeyUsage); others > 0 {
		names = append(names, fmt.Sprintf("%d others", others))
	}
	return "it is good for " + listed(names, "no extended usage")
}

// describe names a CA.
func describe(cert *x509.Certificate) string { return fmt.Sprintf("%q", cert.Subject.String()) }

// listed joins words, of which there may be none.
func listed(words []string, none string) string {
	const enough = 8
	switch {
	case len(words) == 0:
		return none
	case len(words) > enough:
		return fmt.Sprintf("%s and %d more", strings.Join(words[:enough], ", "), len(words)-enough)
	}
	return strings.Join(words, ", ")
}

// roughly is a duration without what nobody wants to know.
func roughly(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= time.Second:
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}

// clamp returns the moment in the interval that is nearest.
func clamp(t, from, to time.Time) time.Time {
	switch {
	case t.Before(from):
		return from
	case t.After(to):
		return to
	}
	return t
}
