package config

// What a well-formed file may still have wrong. A value that an annotation could set as
// well is checked by the annotation's own rule (intent.Check).

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

// validate returns every problem of a completed configuration.
func validate(c *InjectorConfiguration) field.ErrorList {
	var v validator
	v.trustDomain(c.TrustDomain, field.NewPath("trustDomain"))
	v.messages(validation.IsDNS1123Subdomain, c.ClusterDomain, field.NewPath("clusterDomain"))
	v.selector(c.NamespaceSelector, field.NewPath("namespaceSelector"))
	v.issuer(c.Issuer, field.NewPath("issuer"))
	for i := range c.AllowedIssuers {
		v.issuerRule(&c.AllowedIssuers[i], field.NewPath("allowedIssuers").Index(i))
	}
	v.caBundle(c.CABundle, field.NewPath("caBundle"))
	v.annotation("delivery", string(c.Delivery), field.NewPath("delivery"))
	v.privateKey(c.PrivateKey, field.NewPath("privateKey"))
	v.lifetimes(&c.Lifetimes, field.NewPath("lifetimes"))
	v.list(c.Containers.Exclude, field.NewPath("containers", "exclude"), validation.IsDNS1123Label)
	v.env(c.Env, field.NewPath("env"))
	v.preStop(c.PreStop, field.NewPath("preStop"))
	v.annotation("probes", string(c.Probes), field.NewPath("probes"))
	v.reload(c, field.NewPath("reload"))
	v.restart(c.Restart, field.NewPath("restart"))
	v.agent(&c.Agent, field.NewPath("agent"))
	if !c.Companion && c.Delivery == intent.DeliverySecret {
		v.invalid(field.NewPath("companion"), c.Companion, "must be true with delivery: secret, whose Secret is the companion Certificate's")
	}
	v.mode(c.Admission.Guard, field.NewPath("admission", "guard"))
	v.mode(c.Admission.Workloads, field.NewPath("admission", "workloads"))
	for i := range c.Identity.Allow {
		v.nameRule(&c.Identity.Allow[i], c.TrustDomain, field.NewPath("identity", "allow").Index(i))
	}
	return v.errs
}

// validator collects the problems.
type validator struct {
	errs field.ErrorList
}

func (v *validator) invalid(path *field.Path, value any, detail string) {
	v.errs = append(v.errs, field.Invalid(path, value, detail))
}

// annotation checks a value as the annotation of that name would be.
func (v *validator) annotation(name, value string, path *field.Path) {
	if err := intent.Check(name, value); err != nil {
		v.invalid(path, value, err.Error())
	}
}

// messages checks a value with one of apimachinery's functions.
func (v *validator) messages(check func(string) []string, value string, path *field.Path) {
	for _, message := range check(value) {
		v.invalid(path, value, message)
	}
}

// list checks every item, and that none comes twice.
func (v *validator) list(items []string, path *field.Path, check func(string) []string) {
	for i, item := range items {
		if slices.Contains(items[:i], item) {
			v.errs = append(v.errs, field.Duplicate(path.Index(i), item))
			continue
		}
		v.messages(check, item, path.Index(i))
	}
}

func (v *validator) trustDomain(value string, path *field.Path) {
	if !isTrustDomain(value) {
		v.invalid(path, value, "must be a SPIFFE trust domain: 1 to 255 lower-case letters, digits, '.', '-' and '_'")
	}
}

// isTrustDomain follows the SPIFFE ID specification, section 2.1.
func isTrustDomain(value string) bool {
	outside := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune(".-_", r)
	}
	const longest = 255
	return value != "" && len(value) <= longest && !strings.ContainsFunc(value, outside)
}

func (v *validator) issuer(issuer Issuer, path *field.Path) {
	v.annotation("issuer", issuer.Name, path.Child("name"))
	v.kindAndGroup(issuer.Kind, issuer.Group, path)
}

func (v *validator) kindAndGroup(kind, group string, path *field.Path) {
	v.annotation("issuer-kind", kind, path.Child("kind"))
	v.annotation("issuer-group", group, path.Child("group"))
}

func (v *validator) caBundle(b Bundle, path *field.Path) {
	switch b.Kind {
	case intent.BundleConfigMap, intent.BundleClusterTrustBundle:
		if err := intent.Check("ca-bundle", string(b.Kind)+"/"+b.Name); err != nil {
			v.invalid(path.Child("name"), b.Name, err.Error())
		}
	default:
		v.errs = append(v.errs, field.NotSupported(path.Child("kind"), b.Kind,
			[]intent.BundleKind{intent.BundleConfigMap, intent.BundleClusterTrustBundle}))
	}
	v.messages(validation.IsConfigMapKey, b.Key, path.Child("key"))
}

// lifetimes holds cert-manager's own limits, too: it would refuse what is outside.
func (v *validator) lifetimes(l *Lifetimes, path *field.Path) {
	if shortest := Duration(cmapi.MinimumCertificateDuration); l.Min < shortest {
		v.invalid(path.Child("min"), l.Min.String(), fmt.Sprintf("must be at least %s, cert-manager's own limit", shortest))
	}
	if l.Max < l.Min {
		v.invalid(path.Child("max"), l.Max.String(), fmt.Sprintf("must be at least min (%s)", l.Min))
	}
	for _, role := range []struct {
		name string
		Lifetime
	}{{"server", l.Server}, {"client", l.Client}, {"both", l.Both}} {
		v.lifetime(role.Lifetime, l, path.Child(role.name))
	}
}

func (v *validator) lifetime(one Lifetime, bounds *Lifetimes, path *field.Path) {
	duration, renewBefore := *one.Duration, *one.RenewBefore
	if duration < bounds.Min || duration > bounds.Max {
		v.invalid(path.Child("duration"), duration.String(),
			fmt.Sprintf("must be from lifetimes.min (%s) to lifetimes.max (%s)", bounds.Min, bounds.Max))
		return // a renewal time made of it, or compared with it, means nothing
	}
	if shortest := Duration(cmapi.MinimumRenewBefore); renewBefore < shortest {
		v.invalid(path.Child("renewBefore"), renewBefore.String(), fmt.Sprintf("must be at least %s, cert-manager's own limit", shortest))
	} else if renewBefore >= duration {
		v.invalid(path.Child("renewBefore"), renewBefore.String(), fmt.Sprintf("must be less than duration (%s)", duration))
	}
}

func (v *validator) env(profiles []intent.EnvProfile, path *field.Path) {
	if len(profiles) == 0 {
		v.errs = append(v.errs, field.Required(path, "write [none] for no variables"))
	}
	for i, profile := range profiles {
		switch {
		case slices.Contains(profiles[:i], profile):
			v.errs = append(v.errs, field.Duplicate(path.Index(i), profile))
		case profile == intent.EnvNone && len(profiles) > 1:
			v.invalid(path.Index(i), profile, "must stand alone")
		default:
			v.word("env", string(profile), path.Index(i))
		}
	}
}

// word checks one word of an annotation, as the table has it.
func (v *validator) word(name, value string, path *field.Path) bool {
	keys := intent.Keys()
	i := slices.IndexFunc(keys, func(key intent.Key) bool { return key.Name == name })
	return v.oneOf(value, keys[i].Values, path)
}

// oneOf checks a word of an enumeration.
func (v *validator) oneOf(value string, allowed []string, path *field.Path) bool {
	if slices.Contains(allowed, value) {
		return true
	}
	v.invalid(path, value, "must be one of "+strings.Join(allowed, ", ")+intent.DidYouMean(value, allowed))
	return false
}

func (v *validator) mode(mode intent.Mode, path *field.Path) {
	modes := intent.Modes()
	words := make([]string, len(modes))
	for i := range modes {
		words[i] = string(modes[i])
	}
	v.oneOf(string(mode), words, path)
}

func (v *validator) preStop(p PreStop, path *field.Path) {
	v.annotation("pre-stop-seconds", strconv.FormatInt(p.Seconds, 10), path.Child("seconds"))
	if methods := intent.PreStopMethods(); !slices.Contains(methods, p.Method) {
		v.errs = append(v.errs, field.NotSupported(path.Child("method"), p.Method, methods))
	}
}

func (v *validator) reload(c *InjectorConfiguration, path *field.Path) {
	switch {
	case c.Reload == intent.ReloadRestart && !c.Companion:
		v.invalid(path, c.Reload, "needs the companion Certificate, whose renewal restarts the workload: set companion: true or reload: none")
	default:
		v.annotation("reload", string(c.Reload), path)
	}
}

func (v *validator) restart(r Restart, path *field.Path) {
	if r.MaxConcurrentWorkloads < 1 {
		v.invalid(path.Child("maxConcurrentWorkloads"), r.MaxConcurrentWorkloads, "must be at least 1")
	}
	if longest := Duration(24 * time.Hour); r.Jitter < 0 || r.Jitter > longest {
		v.invalid(path.Child("jitter"), r.Jitter.String(), fmt.Sprintf("must be from 0s to %s", longest))
	}
}

func (v *validator) issuerRule(r *IssuerRule, at *field.Path) {
	v.selector(r.NamespaceSelector, at.Child("namespaceSelector"))
	if _, err := path.Match(r.Name, ""); err != nil || r.Name == "" {
		v.invalid(at.Child("name"), r.Name, "must be an issuer's name or a pattern as in Go's path.Match, such as team-*")
	}
	v.kindAndGroup(r.Kind, r.Group, at)
}

// selector insists on a selector: left out, it would mean nothing to some and everything
// to others.
func (v *validator) selector(s *metav1.LabelSelector, path *field.Path) {
	if s == nil {
		v.errs = append(v.errs, field.Required(path, "write {} to select every namespace"))
		return
	}
	v.errs = append(v.errs, metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, path)...)
}
