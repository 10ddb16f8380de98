package csidriver

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmutil "github.com/cert-manager/cert-manager/pkg/util"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
)

// attribute is one row of the driver's table of volume attributes.
type attribute struct {
	key      string
	expand   bool // ${VAR} is expanded
	required bool
	fallback string // the value when there is none; empty means absent
	set      func(p *parser, value string) error
}

// table returns the rows in the order of the driver's documentation. An empty value
// is an absent one.
func table() []attribute {
	return []attribute{
		{key: "issuer-name", required: true, set: text(func(r *Request) *string { return &r.Issuer.Name })},
		{key: "issuer-kind", fallback: "Issuer", set: text(func(r *Request) *string { return &r.Issuer.Kind })},
		{key: "issuer-group", fallback: "cert-manager.io", set: text(func(r *Request) *string { return &r.Issuer.Group })},
		{key: "literal-subject", expand: true, set: func(p *parser, v string) error { p.literal = v; return nil }},
		{key: "common-name", expand: true, set: text(func(r *Request) *string { return &r.Subject.CommonName })},
		{key: "organizations", expand: true, set: csv(func(r *Request) *[]string { return &r.Subject.Organization })},
		{key: "organizationalunits", expand: true, set: csv(func(r *Request) *[]string { return &r.Subject.OrganizationalUnit })},
		{key: "countries", expand: true, set: csv(func(r *Request) *[]string { return &r.Subject.Country })},
		{key: "provinces", expand: true, set: csv(func(r *Request) *[]string { return &r.Subject.Province })},
		{key: "localities", expand: true, set: csv(func(r *Request) *[]string { return &r.Subject.Locality })},
		{key: "streetaddresses", expand: true, set: csv(func(r *Request) *[]string { return &r.Subject.StreetAddress })},
		{key: "postalcodes", expand: true, set: csv(func(r *Request) *[]string { return &r.Subject.PostalCode })},
		{key: "serialnumber", set: text(func(r *Request) *string { return &r.Subject.SerialNumber })},
		{key: "dns-names", expand: true, set: setDNSNames},
		{key: "uri-sans", expand: true, set: setURIs},
		{key: "ip-sans", set: setIPs},
		{key: "duration", fallback: "2160h", set: duration(func(r *Request) *time.Duration { return &r.Duration })},
		{key: "renew-before", set: duration(func(r *Request) *time.Duration { return &r.RenewBefore })},
		{key: "is-ca", fallback: "false", set: boolean(func(r *Request) *bool { return &r.IsCA })},
		{key: "key-usages", fallback: "digital signature,key encipherment", set: setUsages},
		{key: "key-algorithm", fallback: "RSA", set: setAlgorithm},
		{key: "key-size", set: setSize},
		{key: "key-encoding", set: setEncoding},
		{key: "ca-file", fallback: "ca.crt", set: file(func(r *Request) *string { return &r.CAFile })},
		{key: "certificate-file", fallback: "tls.crt", set: file(func(r *Request) *string { return &r.CertificateFile })},
		{key: "privatekey-file", fallback: "tls.key", set: file(func(r *Request) *string { return &r.KeyFile })},
		{key: "fs-group", set: setGroup},
		{key: "reuse-private-key", fallback: "false", set: boolean(func(r *Request) *bool { return &r.ReuseKey })},
		{key: "pkcs12-filename", fallback: "keystore.p12", set: file(func(r *Request) *string { return &r.KeystoreFile })},
		{key: "pkcs12-password", set: text(func(r *Request) *string { return &r.KeystorePassword })},
		{key: "pkcs12-enable", fallback: "false", set: setKeystore}, // last: it takes back the file's name
	}
}

type setter = func(p *parser, value string) error

func text(at func(*Request) *string) setter {
	return func(p *parser, value string) error {
		*at(p.req) = value
		return nil
	}
}

func csv(at func(*Request) *[]string) setter {
	return func(p *parser, value string) (err error) {
		*at(p.req), err = cmutil.SplitWithEscapeCSV(value)
		return err
	}
}

func duration(at func(*Request) *time.Duration) setter {
	return func(p *parser, value string) (err error) {
		*at(p.req), err = time.ParseDuration(value)
		return err
	}
}

func boolean(at func(*Request) *bool) setter {
	return func(p *parser, value string) error {
		if value != "true" && value != "false" {
			return errors.New(`must be "true" or "false"`)
		}
		*at(p.req) = value == "true"
		return nil
	}
}

func file(at func(*Request) *string) setter {
	return func(p *parser, value string) error {
		// Names with two leading dots are those of the atomic update itself.
		if strings.Contains(value, "/") || value == "." || strings.HasPrefix(value, "..") {
			return errors.New("must be a plain file name")
		}
		if len(value) > 255 {
			return errors.New("must be no longer than 255 characters")
		}
		*at(p.req) = value
		return nil
	}
}

// setDNSNames trims the items but keeps empty ones, as the driver does.
func setDNSNames(p *parser, value string) error {
	for name := range strings.SplitSeq(value, ",") {
		p.req.DNSNames = append(p.req.DNSNames, strings.TrimSpace(name))
	}
	return nil
}

func setURIs(p *parser, value string) error {
	for item := range strings.SplitSeq(value, ",") {
		uri, err := url.Parse(item)
		if err != nil {
			return err
		}
		p.req.URIs = append(p.req.URIs, uri)
	}
	return nil
}

func setIPs(p *parser, value string) error {
	for item := range strings.SplitSeq(value, ",") {
		ip := net.ParseIP(item)
		if ip == nil {
			return fmt.Errorf("%q is not an IP address", item)
		}
		p.req.IPAddresses = append(p.req.IPAddresses, ip)
	}
	return nil
}

func setUsages(p *parser, value string) error {
	for item := range strings.SplitSeq(value, ",") {
		usage := cmapi.KeyUsage(item)
		_, isUsage := apiutil.KeyUsageType(usage)
		_, isExtended := apiutil.ExtKeyUsageType(usage)
		if !isUsage && !isExtended {
			return fmt.Errorf("%q is not a key usage", item)
		}
		p.req.Usages = append(p.req.Usages, usage)
	}
	return nil
}

func setAlgorithm(p *parser, value string) error {
	for _, algorithm := range []x509.PublicKeyAlgorithm{x509.RSA, x509.ECDSA, x509.Ed25519} {
		if strings.EqualFold(value, algorithm.String()) {
			p.req.KeyAlgorithm = algorithm
			return nil
		}
	}
	return errors.New("must be RSA, ECDSA or Ed25519")
}

func setSize(p *parser, value string) error {
	size, err := strconv.Atoi(value)
	if err != nil || size <= 0 {
		return errors.New("must be a number of bits")
	}
	p.req.KeySize = size
	return nil
}

func setEncoding(p *parser, value string) error {
	p.req.KeyEncoding = cmapi.PrivateKeyEncoding(value)
	if p.req.KeyEncoding != cmapi.PKCS1 && p.req.KeyEncoding != cmapi.PKCS8 {
		return errors.New("must be PKCS1 or PKCS8")
	}
	return nil
}

func setGroup(p *parser, value string) error {
	gid, err := strconv.ParseUint(value, 10, 32)
	if err != nil || gid == 0 {
		return errors.New("must be a group number from 1 to 4294967295")
	}
	p.req.GID = int64(gid)
	return nil
}

func setKeystore(p *parser, value string) error {
	var enabled bool
	if err := boolean(func(*Request) *bool { return &enabled })(p, value); err != nil {
		return err
	}
	switch {
	case !enabled:
		p.req.KeystoreFile, p.req.KeystorePassword = "", ""
	case p.req.KeystorePassword == "":
		return errors.New("needs pkcs12-password")
	}
	return nil
}

// literalSubject turns an RDN string (RFC 4514) into DER.
func literalSubject(subject string) ([]byte, error) {
	rdns, err := pki.UnmarshalSubjectStringToRDNSequence(subject)
	if err != nil {
		return nil, err
	}
	return pki.MarshalRDNSequenceToRawDERBytes(rdns)
}

// variable matches a dollar sign with the name that follows it, if any.
var variable = regexp.MustCompile(`\$(?:\{[^}]*\}|[A-Za-z_][A-Za-z0-9_]*)?`)

// expand replaces ${NAME} and $NAME. Any other dollar sign is an error.
func expand(value string, variables map[string]string) (string, error) {
	var err error
	expanded := variable.ReplaceAllStringFunc(value, func(match string) string {
		known, ok := variables[strings.Trim(match[1:], "{}")]
		if !ok {
			err = fmt.Errorf("%q: %w", match, errVariable)
		}
		return known
	})
	return expanded, err
}
