package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

// Options say who asks for certificates.
type Options struct {
	// CSIDriver is the service account of cert-manager's CSI driver.
	CSIDriver types.NamespacedName
	// CertManager is that of cert-manager's controller, which asks for the companions.
	CertManager types.NamespacedName
	// UseTokenRequest says that the CSI driver asks in the name of the pod's service account,
	// as its own option of that name makes it. CSIDriver has no meaning then.
	UseTokenRequest bool
}

// LabelComponent and Component are on all objects, with [intent.LabelManagedBy], so that
// those that are no longer made can be found.
const (
	LabelComponent = "app.kubernetes.io/component"
	Component      = "signing-policy"
)

// maxPolicies is what one configuration may make. Whoever has more has them by combination,
// and approver-policy looks at each for each request.
const maxPolicies = 100

// Objects returns the policies that allow what the configuration allows, and the RBAC by
// which the CSI driver and cert-manager may use exactly these. They stand in the order in
// which they are to be applied: who may use one policy before there are all of them is
// denied what another would have approved, for good. The same configuration gives the same
// objects.
//
// Without errors the policies are never wider than the configuration. The paths of errors
// are those of the configuration file.
func Objects(defaults *intent.Defaults, options Options) ([]*unstructured.Unstructured, field.ErrorList) {
	r := renderer{defaults: defaults, keys: keyRanges(defaults)}
	r.learn()
	var objects []any
	var roles []any
	for _, requester := range requesters(&options) {
		policies := r.policies(requester)
		names := make([]string, len(policies))
		for i, p := range policies {
			names[i] = p.Name
			objects = append(objects, p)
		}
		role, binding := requester.rbac(names)
		roles = append(roles, role, binding)
	}
	if len(objects) > maxPolicies {
		r.errs = append(r.errs, tooMany(field.NewPath("identity", "allow")))
	}
	if len(r.errs) > 0 {
		return nil, r.errs
	}
	return encode(append(objects, roles...))
}

func encode(objects []any) ([]*unstructured.Unstructured, field.ErrorList) {
	out := make([]*unstructured.Unstructured, len(objects))
	for i, object := range objects {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			return nil, field.ErrorList{field.InternalError(nil, err)}
		}
		out[i] = &unstructured.Unstructured{Object: fields}
	}
	return out, nil
}

func tooMany(at *field.Path) *field.Error {
	return field.Forbidden(at, fmt.Sprintf("the configuration makes more than %d policies: one for each issuer, kind of key and set of labels "+
		"that a namespace can have; give rules for the same namespaces the same namespaceSelector, or select namespaces by "+
		"kubernetes.io/metadata.name, which in identity.allow makes no policies of its own", maxPolicies))
}

// renderer makes the policies of one configuration.
type renderer struct {
	defaults *intent.Defaults
	keys     []intent.KeyRule
	issuers  []issuer
	grants   []grant
	errs     field.ErrorList
}

// issuer is an issuer that the configuration allows, with "*" in its name perhaps, and
// where.
type issuer struct {
	intent.Issuer
	reaches []reach
}

// grant is what a rule gives to some namespaces.
type grant struct {
	reach

	rule *intent.NameRule
}

// learn translates what the configuration says, and collects what has no translation.
func (r *renderer) learn() {
	at := field.NewPath("namespaceSelector")
	base, errs := reachesOf(r.defaults.Namespaces, at)
	if r.errs = append(r.errs, errs...); len(base)+len(errs) == 0 {
		r.errs = append(r.errs, field.Invalid(at, r.defaults.Namespaces.String(), "must select a namespace, or there is nothing to allow"))
	}
	r.allow(r.defaults.Issuer, base)
	r.checkText(r.defaults.Issuer.Name, "*", field.NewPath("issuer", "name"))
	r.checkKind(r.defaults.Issuer, field.NewPath("issuer"))
	for i := range r.defaults.AllowedIssuers {
		rule, at := &r.defaults.AllowedIssuers[i], field.NewPath("allowedIssuers").Index(i)
		reaches, errs := reachesOf(rule.Namespaces, at.Child("namespaceSelector"))
		r.errs = append(r.errs, errs...)
		allowed := intent.Issuer{Name: rule.Name, Kind: rule.Kind, Group: rule.Group}
		r.allow(allowed, product(base, reaches))
		r.checkText(rule.Name, `?[\`, at.Child("name"))
		r.checkKind(allowed, at)
	}
	for i := range r.defaults.AllowedNames {
		rule, at := &r.defaults.AllowedNames[i], field.NewPath("identity", "allow").Index(i)
		reaches, errs := reachesOf(rule.Namespaces, at.Child("namespaceSelector"))
		r.errs = append(r.errs, errs...)
		for j, pattern := range rule.URIs {
			r.checkText(pattern, `[\`, at.Child("uris").Index(j))
		}
		for _, reach := range reaches {
			r.grants = append(r.grants, grant{reach: reach, rule: rule})
		}
	}
}

// allow adds an issuer, but for namespaces that have it already.
func (r *renderer) allow(allowed intent.Issuer, reaches []reach) {
	i := slices.IndexFunc(r.issuers, func(known issuer) bool { return known.Issuer == allowed })
	if i < 0 {
		i = len(r.issuers)
		r.issuers = append(r.issuers, issuer{Issuer: allowed})
	}
	for _, wider := range reaches {
		if slices.ContainsFunc(r.issuers[i].reaches, wider.within) {
			continue
		}
		narrower := func(known reach) bool { return known.within(wider) }
		r.issuers[i].reaches = append(slices.DeleteFunc(r.issuers[i].reaches, narrower), wider)
	}
}

// checkKind keeps out what is literal to us and a wildcard to approver-policy.
func (r *renderer) checkKind(i intent.Issuer, at *field.Path) {
	r.checkText(i.Kind, "*", at.Child("kind"))
	r.checkText(i.Group, "*", at.Child("group"))
}

// checkText keeps out characters that mean something else to approver-policy.
func (r *renderer) checkText(value, foreign string, at *field.Path) {
	if !strings.ContainsAny(value, foreign) {
		return
	}
	detail := "a policy would take '*' for any text: write the name in full"
	if foreign != "*" {
		detail = "approver-policy has no patterns with '" + strings.Join(strings.Split(foreign, ""), "' or '") +
			"': write what is meant one by one, or with '*'"
	}
	r.errs = append(r.errs, field.Invalid(at, value, detail))
}

// policies returns those for one kind of requester, in the order of their names.
func (r *renderer) policies(q *requester) []*certificateRequestPolicy {
	var out []*certificateRequestPolicy
	for i := range r.issuers {
		for _, base := range r.issuers[i].reaches {
			for _, namespaces := range r.combinations(base) {
				allowed := r.allowed(q, r.shares(namespaces))
				for _, keys := range r.keys {
					out = append(out, r.policy(q, r.issuers[i].Issuer, namespaces, keys, allowed))
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b *certificateRequestPolicy) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// combinations divides a reach by the labels for which the configuration grants names: a
// request is approved by one policy as a whole, so a namespace with the labels of several
// rules needs one that allows all their names. With fewer labels there is a policy that
// allows less; that it holds for the namespace, too, does no harm.
func (r *renderer) combinations(base reach) []reach {
	out := []reach{base}
	for i := range r.grants {
		for _, known := range out {
			both, ok := known.and(r.grants[i].reach)
			both.names = base.names // allowed asks for the rule's own
			same := func(other reach) bool { return other.String() == both.String() }
			if ok && !slices.ContainsFunc(out, same) {
				out = append(out, both)
			}
		}
		if len(out) > maxPolicies {
			return out // which is too many already
		}
	}
	return out
}

func (r *renderer) policy(q *requester, i intent.Issuer, namespaces reach, keys intent.KeyRule, allowed allowed) *certificateRequestPolicy {
	return &certificateRequestPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: apiVersion, Kind: kind},
		ObjectMeta: metav1.ObjectMeta{Name: nameOf(q, i, namespaces, keys), Labels: commonLabels()},
		Spec: spec{
			Allowed: allowed,
			Constraints: constraints{
				MinDuration: metav1.Duration{Duration: r.defaults.MinDuration},
				MaxDuration: metav1.Duration{Duration: r.defaults.MaxDuration},
				PrivateKey:  privateKey{Algorithm: keys.Algorithm, MinSize: keys.MinSize, MaxSize: keys.MaxSize},
			},
			Selector: selector{
				IssuerRef: issuerRef{Name: i.Name, Kind: i.Kind, Group: i.Group},
				Namespace: namespaces.selector(),
			},
		},
	}
}

// nameOf names a policy after what it is for, not after what it allows: when the
// configuration grants more, or less, the policy changes and keeps its name.
func nameOf(q *requester, i intent.Issuer, namespaces reach, keys intent.KeyRule) string {
	const longest, digits = 100, 8
	plain := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r == '.':
			return '-'
		}
		return -1
	}, i.Name)
	if plain = strings.Trim(plain[:min(len(plain), longest)], "-"); plain == "" {
		plain = "any"
	}
	what := strings.Join([]string{i.Name, i.Kind, i.Group, namespaces.String(), keys.String()}, "\n")
	sum := sha256.Sum256([]byte(what))
	return strings.Join([]string{
		prefix + q.name, plain, strings.ToLower(string(keys.Algorithm)), hex.EncodeToString(sum[:])[:digits],
	}, "-")
}

// prefix begins the names of all objects.
const prefix = "mtls-injector-"

func commonLabels() map[string]string {
	return map[string]string{intent.LabelManagedBy: intent.ManagedBy, LabelComponent: Component}
}
