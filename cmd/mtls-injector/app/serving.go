package app

// The flags that say where the serving certificate comes from.

import (
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"

	"example.io/mtls-injector/certs"
	"example.io/mtls-injector/webhook"
	"example.io/mtls-injector/webhook/servingcert"
)

// The serving certificate's modes.
const (
	servingFiles       = "files"
	servingSelfManaged = "self-managed"
)

// minLeafDuration leaves time for a certificate to be replaced before it ends.
const minLeafDuration = time.Minute

// servingOptions are the flags of the self-managed serving certificate.
type servingOptions struct {
	mode string
	servingcert.Options
}

func (o *servingOptions) bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.mode, "serving-cert-mode", servingFiles, "`mode` of the serving certificate: files (those in --cert-dir), or self-managed: made here, by a CA in a Secret that the replicas share, and put into the caBundle of the webhook configurations")
	flags.StringVar(&o.SecretNamespace, "serving-cert-secret-namespace", "", "`namespace` of the CA's Secret (self-managed)")
	flags.StringVar(&o.SecretName, "serving-cert-secret-name", "", "`name` of the CA's Secret (self-managed)")
	flags.StringSliceVar(&o.DNSNames, "serving-cert-dns-names", nil, "`names` in the serving certificate, comma-separated; the API server wants <service>.<namespace>.svc (self-managed)")
	flags.StringVar(&o.ConfigurationName, "webhook-configuration-name", "", "`name` of the MutatingWebhookConfiguration and the ValidatingWebhookConfiguration whose caBundle is kept right; either may be missing (self-managed)")
	flags.DurationVar(&o.CADuration, "serving-cert-ca-duration", 365*24*time.Hour, "`duration` of the CA's life, replaced after two thirds of it (self-managed)")
	flags.DurationVar(&o.LeafDuration, "serving-cert-leaf-duration", 7*24*time.Hour, "`duration` of the serving certificate's life, replaced after two thirds of it (self-managed)")
}

// validate tells what is wrong. Of files, nothing can be.
func (o *servingOptions) validate(wrong func(flag, format string, args ...any)) {
	switch o.mode {
	case servingFiles:
		return
	case servingSelfManaged:
	default:
		wrong("serving-cert-mode", "must be %s or %s, not %q", servingFiles, servingSelfManaged, o.mode)
		return
	}
	for _, name := range []struct {
		flag, value string
		check       func(string) []string
	}{
		{"serving-cert-secret-namespace", o.SecretNamespace, validation.IsDNS1123Label},
		{"serving-cert-secret-name", o.SecretName, validation.IsDNS1123Subdomain},
		{"webhook-configuration-name", o.ConfigurationName, validation.IsDNS1123Subdomain},
	} {
		if name.value == "" {
			wrong(name.flag, "is needed with --serving-cert-mode=%s", servingSelfManaged)
		} else if problems := name.check(name.value); len(problems) != 0 {
			wrong(name.flag, "%q is not a name: %s", name.value, strings.Join(problems, "; "))
		}
	}
	if len(o.DNSNames) == 0 {
		wrong("serving-cert-dns-names", "is needed with --serving-cert-mode=%s", servingSelfManaged)
	}
	for _, name := range o.DNSNames {
		if problems := validation.IsDNS1123Subdomain(name); len(problems) != 0 {
			wrong("serving-cert-dns-names", "%q is not a name: %s", name, strings.Join(problems, "; "))
		}
	}
	if o.LeafDuration < minLeafDuration {
		wrong("serving-cert-leaf-duration", "must be at least %s, not %s", minLeafDuration, o.LeafDuration)
	}
	// A third of the CA's life is left when it is replaced.
	if o.CADuration < 3*o.LeafDuration {
		wrong("serving-cert-ca-duration", "must be at least three times --serving-cert-leaf-duration, which is %s, not %s", o.LeafDuration, o.CADuration)
	}
}

// complete returns the options of the self-managed certificate, or nil when it comes from
// files.
func (o *servingOptions) complete(config *rest.Config) *servingcert.Options {
	if o.mode != servingSelfManaged {
		return nil
	}
	complete := o.Options
	complete.Config = config
	complete.DNSNames = slices.Clone(o.DNSNames)
	complete.SecretLabels = map[string]string{
		certs.LabelManagedBy:          certs.ManagedBy,
		"app.kubernetes.io/name":      certs.ManagedBy,
		"app.kubernetes.io/component": "webhook",
	}
	return &complete
}

// newServer makes the server with the certificate that the settings ask for.
func newServer(s *settings, log logr.Logger) (*webhook.Server, error) {
	opts := s.server
	if s.serving != nil {
		own := *s.serving
		own.Log = log.WithName("serving-certificate")
		source, err := servingcert.New(own)
		if err != nil {
			return nil, err
		}
		opts.Certificate = source
	}
	return webhook.NewServer(opts)
}
