package intent

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/util/validation"
)

// The functions of this file say which form a single text must have, for the setters in
// parse.go and for names that come from elsewhere.

// maxSubject is the upper bound of a common name, organization or organizational unit
// in bytes (RFC 5280, appendix A.1).
const maxSubject = 64

// clusterTrustBundleName accepts <name> or <signer domain>:<signer path>:<name>
// (KEP-3257), each part in the characters that a URL path segment and our patch share.
func clusterTrustBundleName(name string) error {
	if len(name) > validation.DNS1123SubdomainMaxLength || !bundleName.MatchString(name) {
		return errors.New("must be the name of a ClusterTrustBundle: lower-case letters, digits, '.', '-' and, behind a signer's name, ':'")
	}
	return nil
}

var (
	bundleName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.:-]*[a-z0-9])?$`)
	kindForm   = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{0,62}$`)
)

func dnsLabel(value string) error {
	if len(validation.IsDNS1123Label(value)) > 0 {
		return errors.New("must be a lower-case name of letters, digits and '-', at most 63 characters")
	}
	return nil
}

func objectName(value string) error {
	if len(validation.IsDNS1123Subdomain(value)) > 0 {
		return errors.New("must be a lower-case name of letters, digits, '-' and '.', at most 253 characters")
	}
	return nil
}

// dnsName accepts names and wildcards of one label. Upper case, trailing dots and
// anything outside ASCII are refused: two spellings of one name would be two identities.
func dnsName(value string) error {
	if len(value) > validation.DNS1123SubdomainMaxLength || hasLongLabel(value) ||
		len(validation.IsDNS1123Subdomain(strings.TrimPrefix(value, "*."))) > 0 {
		return errors.New("must be a lower-case DNS name without a trailing dot, at most 253 characters, 63 between dots")
	}
	return nil
}

// hasLongLabel checks what the API server does not ask of its own subdomains, but
// RFC 1035, section 2.3.4, does.
func hasLongLabel(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if len(label) > validation.DNS1123LabelMaxLength {
			return true
		}
	}
	return false
}

func kindName(value string) error {
	if !kindForm.MatchString(value) {
		return errors.New("must be a kind such as Issuer or ClusterIssuer")
	}
	return nil
}

// subjectText accepts what stands unchanged in a certificate's subject and in the CSI
// driver's CSV attributes, where commas and quotes separate and "$" begins a variable.
func subjectText(value string) error {
	switch {
	case value == "" || value != strings.TrimSpace(value):
		return errors.New("must not be empty nor begin or end with a space")
	case len(value) > maxSubject:
		return fmt.Errorf("must have at most %d bytes (RFC 5280)", maxSubject)
	case strings.ContainsAny(value, `$,"\`) || strings.ContainsFunc(value, unprintable):
		return errors.New(`must have printable characters only, without comma, '$', '"' and '\'`)
	}
	return nil
}

// unprintable characters include those that replace what is no UTF-8.
func unprintable(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }

// forbiddenMounts are folders that a container cannot do without.
var forbiddenMounts = [...]string{"/dev", "/proc", "/sys", "/var/run/secrets/kubernetes.io", "/run/secrets/kubernetes.io"}

// safePath keeps out what separates or expands somewhere, and what nobody sees.
func safePath(value string) bool {
	return !strings.ContainsAny(value, ":$,") && !strings.ContainsFunc(value, unprintable) && !strings.HasSuffix(value, " ")
}

func mountPath(value string) error {
	if !path.IsAbs(value) || path.Clean(value) != value || value == "/" || len(value) > 1024 || !safePath(value) {
		return errors.New("must be an absolute path such as /certs, without '..', ':', ',', '$' and a trailing '/' or space")
	}
	for _, forbidden := range forbiddenMounts {
		if value == forbidden || strings.HasPrefix(value, forbidden+"/") || strings.HasPrefix(forbidden, value+"/") {
			return fmt.Errorf("must not hide or lie in %s", forbidden)
		}
	}
	if value == "/etc/tls/ca" || strings.HasPrefix(value, "/etc/tls/ca/") || value == "/etc/tls" || value == "/etc" {
		return errors.New("must not be or hide /etc/tls/ca, where the CA bundle is mounted, nor be /etc")
	}
	return nil
}

// processForm is what the kernel keeps of a program's name: 15 bytes (TASK_COMM_LEN).
var processForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+:@-]{0,14}$`)

func processName(value string) error {
	if !processForm.MatchString(value) {
		return errors.New("must be a process's name as `ps -o comm` shows it, such as nginx: at most 15 characters, of which longer names have the first 15")
	}
	return nil
}

// localURL accepts what is called on the loopback interface only. "$" would begin a variable in the
// arguments of a container.
func localURL(value string) error {
	wrong := errors.New("must be http://localhost:<port>/<path>")
	at, err := url.Parse(value)
	if err != nil || at.Scheme != "http" || at.Hostname() != "localhost" || at.User != nil || at.Fragment != "" ||
		len(value) > 1024 || strings.ContainsAny(value, `$, "\`) || strings.ContainsFunc(value, unprintable) {
		return wrong
	}
	port, err := strconv.ParseUint(at.Port(), 10, 16)
	if err != nil || port == 0 || value != at.String() {
		return wrong
	}
	return nil
}
