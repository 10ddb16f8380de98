package config

// The default key and the kinds of keys that annotations may ask for.

import (
	"fmt"
	"slices"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

// completeKeyRule gives a rule the sizes that it leaves out: those of the builtin rules,
// each of which has all sizes of its algorithm.
func completeKeyRule(rule *KeyRule, builtin []KeyRule) {
	whole := KeyRule{}
	i := slices.IndexFunc(builtin, func(r KeyRule) bool { return r.Algorithm == rule.Algorithm })
	if i >= 0 {
		whole = builtin[i]
	}
	if rule.MinSize == nil {
		rule.MinSize = whole.MinSize
	}
	if rule.MaxSize == nil {
		rule.MaxSize = whole.MaxSize
	}
}

func keyRules(rules []KeyRule) []intent.KeyRule {
	out := make([]intent.KeyRule, len(rules))
	for i, rule := range rules {
		out[i] = intent.KeyRule{Algorithm: rule.Algorithm}
		if rule.Algorithm != cmapi.Ed25519KeyAlgorithm {
			out[i].MinSize, out[i].MaxSize = *rule.MinSize, *rule.MaxSize
		}
	}
	return out
}

func fromKeyRules(rules []intent.KeyRule) []KeyRule {
	out := make([]KeyRule, len(rules))
	for i, rule := range rules {
		out[i] = KeyRule{Algorithm: rule.Algorithm}
		if rule.Algorithm != cmapi.Ed25519KeyAlgorithm {
			out[i].MinSize, out[i].MaxSize = &rule.MinSize, &rule.MaxSize
		}
	}
	return out
}

func (v *validator) privateKey(key PrivateKey, path *field.Path) {
	if v.word("key-algorithm", string(key.Algorithm), path.Child("algorithm")) {
		v.keySize(key.Algorithm, *key.Size, path.Child("size"))
	}
	for i, rule := range key.Allowed {
		at := path.Child("allowed").Index(i)
		if slices.ContainsFunc(key.Allowed[:i], func(r KeyRule) bool { return r.Algorithm == rule.Algorithm }) {
			v.errs = append(v.errs, field.Duplicate(at.Child("algorithm"), rule.Algorithm))
			continue
		}
		v.keyRule(rule, at)
	}
}

func (v *validator) keyRule(rule KeyRule, path *field.Path) {
	switch {
	case !v.word("key-algorithm", string(rule.Algorithm), path.Child("algorithm")):
	case rule.Algorithm == cmapi.Ed25519KeyAlgorithm:
		v.noKeySize(rule.MinSize, path.Child("minSize"))
		v.noKeySize(rule.MaxSize, path.Child("maxSize"))
	default:
		smallest := v.keySize(rule.Algorithm, *rule.MinSize, path.Child("minSize"))
		largest := v.keySize(rule.Algorithm, *rule.MaxSize, path.Child("maxSize"))
		if smallest && largest && *rule.MaxSize < *rule.MinSize {
			v.invalid(path.Child("maxSize"), *rule.MaxSize, fmt.Sprintf("must be at least minSize (%d)", *rule.MinSize))
		}
	}
}

// keySize holds what cert-manager takes.
func (v *validator) keySize(algorithm cmapi.PrivateKeyAlgorithm, size int, path *field.Path) bool {
	err := intent.PrivateKey{Algorithm: algorithm, Size: size}.Validate()
	if err != nil {
		v.invalid(path, size, err.Error())
	}
	return err == nil
}

// noKeySize refuses a size where there is none to choose.
func (v *validator) noKeySize(size *int, path *field.Path) {
	if size != nil {
		v.keySize(cmapi.Ed25519KeyAlgorithm, *size, path)
	}
}
