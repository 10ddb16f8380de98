package csidriver

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Name is the driver's name in a pod's volume.
const Name = "csi.cert-manager.io"

// Prefix is that of the driver's own volume attributes.
const Prefix = Name + "/"

// Request is what one volume of a pod asks for, with all defaults applied and all
// variables expanded.
type Request struct {
	Issuer cmmeta.IssuerReference
	// Subject is the subject's single fields. RawSubject, the DER of a literal
	// subject, replaces it if set.
	Subject     pkix.Name
	RawSubject  []byte
	DNSNames    []string
	URIs        []*url.URL
	IPAddresses []net.IP
	Duration    time.Duration
	// RenewBefore is how long before its expiry a certificate is renewed; 0 means a
	// third of its lifetime.
	RenewBefore  time.Duration
	IsCA         bool
	Usages       []cmapi.KeyUsage
	KeyAlgorithm x509.PublicKeyAlgorithm
	KeySize      int // bits; 0 for Ed25519
	KeyEncoding  cmapi.PrivateKeyEncoding
	// ReuseKey keeps the private key when the certificate is renewed.
	ReuseKey bool
	// The names of the files.
	CAFile, CertificateFile, KeyFile string
	// KeystoreFile is the name of the PKCS #12 keystore, empty if there is none.
	KeystoreFile, KeystorePassword string
	// GID is the group of the files; 0 is root's.
	GID int64
	// Annotations go onto the CertificateRequest.
	Annotations map[string]string
	// Ignored are the keys that mean nothing to the driver. It says nothing about
	// them, so a typing error is never noticed.
	Ignored []string
}

// Parse reads what the pod's volume asks for. The error lists all that the driver
// would refuse, each with its field path.
func Parse(pod *corev1.Pod, volumeName string) (*Request, error) {
	source, path, err := findVolume(pod, volumeName)
	if err != nil {
		return nil, err
	}
	p := &parser{pod: pod, path: path.Child("volumeAttributes"), req: &Request{Annotations: map[string]string{}}}
	p.checkVolume(source, path)
	p.attributes(source.VolumeAttributes)
	p.checkKey()
	p.checkFiles()
	p.finishSubject()
	p.group()
	return p.req, p.errs.ToAggregate()
}

// findVolume returns the volume's CSI source and its field path.
func findVolume(pod *corev1.Pod, name string) (*corev1.CSIVolumeSource, *field.Path, error) {
	volumes := field.NewPath("spec", "volumes")
	for i, volume := range pod.Spec.Volumes {
		if volume.Name != name {
			continue
		}
		if volume.CSI == nil {
			return nil, nil, field.Required(volumes.Index(i).Child("csi"), "volume "+name+" is of another kind")
		}
		return volume.CSI, volumes.Index(i).Child("csi"), nil
	}
	return nil, nil, field.NotFound(volumes, name)
}

// parser collects a request and what is wrong with it.
type parser struct {
	pod     *corev1.Pod
	path    *field.Path
	req     *Request
	literal string // the literal subject
	errs    field.ErrorList
}

func (p *parser) invalid(key, value, format string, args ...any) {
	p.errs = append(p.errs, field.Invalid(p.path.Key(Prefix+key), value, fmt.Sprintf(format, args...)))
}

func (p *parser) checkVolume(source *corev1.CSIVolumeSource, path *field.Path) {
	if source.Driver != Name {
		p.errs = append(p.errs, field.NotSupported(path.Child("driver"), source.Driver, []string{Name}))
	}
	if source.ReadOnly == nil || !*source.ReadOnly {
		// In the driver's own words.
		p.errs = append(p.errs, field.Required(path.Child("readOnly"), "pod.spec.volumes[].csi.readOnly must be set to 'true'"))
	}
	if source.NodePublishSecretRef != nil {
		p.errs = append(p.errs, field.Forbidden(path.Child("nodePublishSecretRef"), "the driver takes no secret"))
	}
}

// attributes applies the table to the attributes, and sorts out what is not in it.
func (p *parser) attributes(attributes map[string]string) {
	known := map[string]bool{}
	for _, a := range table() {
		known[Prefix+a.key] = true
		value := attributes[Prefix+a.key]
		if value == "" {
			value = a.fallback
		}
		if value == "" {
			if a.required {
				p.errs = append(p.errs, field.Required(p.path.Key(Prefix+a.key), ""))
			}
			continue
		}
		p.attribute(a, value)
	}
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		switch group, _, ok := strings.Cut(key, "/"); {
		case known[key]:
		case !ok || group+"/" == Prefix:
			p.req.Ignored = append(p.req.Ignored, key)
		default:
			p.req.Annotations[key] = attributes[key]
		}
	}
}

func (p *parser) attribute(a attribute, value string) {
	expanded := value
	if a.expand {
		var err error
		if expanded, err = expand(value, p.variables()); err != nil {
			p.invalid(a.key, value, "%v", err)
			return
		}
	}
	if err := a.set(p, expanded); err != nil {
		p.invalid(a.key, value, "%v", err)
	}
}

// checkKey checks and completes what depends on the key's algorithm.
func (p *parser) checkKey() {
	r := p.req
	switch r.KeyAlgorithm {
	case x509.RSA:
		p.defaultKey(2048, cmapi.PKCS1)
		if r.KeySize < 2048 || r.KeySize > 8192 {
			p.invalid("key-size", fmt.Sprint(r.KeySize), "an RSA key has 2048 to 8192 bits")
		}
	case x509.ECDSA:
		p.defaultKey(256, cmapi.PKCS8)
		if !slices.Contains([]int{256, 384, 521}, r.KeySize) {
			p.invalid("key-size", fmt.Sprint(r.KeySize), "an ECDSA key has 256, 384 or 521 bits")
		}
	case x509.Ed25519:
		if r.KeySize != 0 {
			p.invalid("key-size", fmt.Sprint(r.KeySize), "an Ed25519 key has no size to choose")
		}
		p.defaultKey(0, cmapi.PKCS8)
	}
	if r.KeyEncoding == cmapi.PKCS1 && r.KeyAlgorithm != x509.RSA && r.KeyAlgorithm != x509.UnknownPublicKeyAlgorithm {
		p.invalid("key-encoding", string(r.KeyEncoding), "PKCS1 is for RSA keys only")
	}
}

func (p *parser) defaultKey(size int, encoding cmapi.PrivateKeyEncoding) {
	if p.req.KeySize == 0 {
		p.req.KeySize = size
	}
	if p.req.KeyEncoding == "" {
		p.req.KeyEncoding = encoding
	}
}

// checkFiles checks that no file would overwrite another.
func (p *parser) checkFiles() {
	seen := map[string]string{}
	for _, file := range []struct{ key, name string }{
		{"ca-file", p.req.CAFile},
		{"certificate-file", p.req.CertificateFile},
		{"privatekey-file", p.req.KeyFile},
		{"pkcs12-filename", p.req.KeystoreFile},
	} {
		if file.name == "" {
			continue
		}
		if other, ok := seen[file.name]; ok {
			p.invalid(file.key, file.name, "is also the name of %s", other)
		}
		seen[file.name] = file.key
	}
}

// finishSubject lets a literal subject replace all single fields.
func (p *parser) finishSubject() {
	if p.literal == "" {
		return
	}
	der, err := literalSubject(p.literal)
	if err != nil {
		p.invalid("literal-subject", p.literal, "%v", err)
		return
	}
	p.req.Subject, p.req.RawSubject = pkix.Name{}, der
}

// group finds the files' group: the attribute, else the pod's fsGroup, else root.
func (p *parser) group() {
	sc := p.pod.Spec.SecurityContext
	if p.req.GID == 0 && sc != nil && sc.FSGroup != nil {
		p.req.GID = *sc.FSGroup
	}
}

// variables are those that a † attribute may name.
func (p *parser) variables() map[string]string {
	return map[string]string{
		"POD_NAME":             p.pod.Name,
		"POD_NAMESPACE":        p.pod.Namespace,
		"POD_UID":              string(p.pod.UID),
		"SERVICE_ACCOUNT_NAME": serviceAccount(p.pod),
	}
}

func serviceAccount(pod *corev1.Pod) string {
	if pod.Spec.ServiceAccountName == "" {
		return "default"
	}
	return pod.Spec.ServiceAccountName
}

var errVariable = errors.New("only ${POD_NAME}, ${POD_NAMESPACE}, ${POD_UID} and ${SERVICE_ACCOUNT_NAME} are expanded, and $ means nothing else")
