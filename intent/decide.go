package intent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
)

// minRenewBefore is cert-manager's own lower bound.
const minRenewBefore = 5 * time.Minute

// intent puts the decisions together. Each of its parts checks what hangs together and
// records the problems.
func (r *resolution) intent() *Intent {
	s, d := &r.settings, r.defaults
	workload := r.workload
	in := &Intent{
		Role:           s.role,
		Namespace:      r.ns.Name,
		ServiceAccount: r.serviceAccount(),
		Workload:       workload,
		Identity:       r.identity(),
		Issuer:         r.issuer(),
		Key:            r.key(),
		Lifetime:       r.lifetime(),
		Delivery:       s.delivery,
		Companion:      s.companion,
		CompanionName:  CompanionName(workload),
		MountPath:      s.mountPath,
		CABundle:       s.bundle,
		Containers:     r.selection(),
		Env:            s.env,
		PreStop:        r.preStop(),
		Probes:         s.probes,
		Reload:         s.reload,
		Version:        d.Version,
	}
	in.Usages = usages(in.Role, in.Key.Algorithm)
	in.FSGroup = r.fsGroup(&in.Containers)
	in.Agent = r.agent(&in.Containers)
	completeAgent(in, r.pod)
	r.checkRestart(workload)
	r.checkServiceAccount(in.ServiceAccount)
	if s.delivery == DeliverySecret && !s.companion && r.sound(keyDelivery, keyCompanion) {
		r.refuse(keyCompanion, "must be true with delivery: secret, whose Secret is the companion Certificate's")
	}
	return in
}

// usages are those of the design's table. Key encipherment is for RSA key exchange only
// (RFC 5246, section 7.4.2; RFC 5480, section 3).
func usages(role Role, algorithm cmapi.PrivateKeyAlgorithm) []cmapi.KeyUsage {
	out := append(make([]cmapi.KeyUsage, 0, 4), cmapi.UsageDigitalSignature)
	if algorithm == cmapi.RSAKeyAlgorithm {
		out = append(out, cmapi.UsageKeyEncipherment)
	}
	if role.IsServer() {
		out = append(out, cmapi.UsageServerAuth)
	}
	if role.IsClient() {
		out = append(out, cmapi.UsageClientAuth)
	}
	return out
}

func (r *resolution) issuer() Issuer {
	issuer := r.settings.issuer
	if r.sound(keyIssuer, keyIssuerKind, keyIssuerGroup) {
		if err := r.checkAllowed(issuer); err != nil {
			r.refuse(r.firstSet(keyIssuer, keyIssuerKind, keyIssuerGroup), err.Error())
		}
	}
	return issuer
}

// firstSet returns the first key that pod or namespace sets, or the first of all.
func (r *resolution) firstSet(keys ...string) string {
	for _, key := range keys {
		if set, _ := r.isSet(key); set {
			return key
		}
	}
	return keys[0]
}

func (r *resolution) key() PrivateKey {
	key := PrivateKey{Algorithm: r.settings.keyAlgorithm, Size: int(r.settings.keySize)}
	switch {
	case key.Size != 0:
	case key.Algorithm == r.defaults.Key.Algorithm:
		return r.defaults.Key
	default:
		key.Size, r.why.keySize = defaultKeySize(key.Algorithm), reasonAlgorithm
	}
	if err := r.defaults.checkKey(key); err != nil && r.sound(keyKeyAlgorithm, keyKeySize) {
		r.refuse(r.firstSet(keyKeySize, keyKeyAlgorithm), err.Error())
	}
	return key
}

func defaultKeySize(algorithm cmapi.PrivateKeyAlgorithm) int {
	switch algorithm {
	case cmapi.RSAKeyAlgorithm:
		return 2048
	case cmapi.ECDSAKeyAlgorithm:
		return 256
	default:
		return 0
	}
}

// Validate reports a size that cert-manager or its CSI driver would refuse.
func (k PrivateKey) Validate() error {
	switch k.Algorithm {
	case cmapi.RSAKeyAlgorithm:
		if k.Size < 2048 || k.Size > 8192 {
			return fmt.Errorf("must be from 2048 to 8192 for RSA, not %d", k.Size)
		}
	case cmapi.ECDSAKeyAlgorithm:
		if k.Size != 256 && k.Size != 384 && k.Size != 521 {
			return fmt.Errorf("must be 256, 384 or 521 for ECDSA, not %d", k.Size)
		}
	case cmapi.Ed25519KeyAlgorithm:
		if k.Size != 0 {
			return fmt.Errorf("must be left out for Ed25519, whose keys have one size")
		}
	default:
		return notOneOf(string(k.Algorithm), keyAlgorithms())
	}
	return nil
}

// checkKey reports a key that nobody could make, or that the configuration does not allow.
func (d *Defaults) checkKey(key PrivateKey) error {
	if err := key.Validate(); err != nil || key == d.Key {
		return err
	}
	allowed := []string{d.Key.String()}
	for _, rule := range d.AllowedKeys {
		if rule.Algorithm == key.Algorithm && rule.MinSize <= key.Size && key.Size <= rule.MaxSize {
			return nil
		}
		allowed = append(allowed, rule.String())
	}
	return fmt.Errorf("%s is not allowed by the configuration (privateKey); allowed: %s", key, strings.Join(allowed, ", "))
}

// lifetime keeps a renewal time that somebody asked for. Where only the duration was
// asked for, a third of it is left for renewal, as the CSI driver does.
func (r *resolution) lifetime() Lifetime {
	s, life := &r.settings, r.defaults.lifetime(r.settings.role)
	if s.duration != 0 {
		if err := r.defaults.checkDuration(s.duration); err != nil {
			r.refuse(keyDuration, err.Error())
		}
		life = Lifetime{Duration: s.duration, RenewBefore: (s.duration / 3).Truncate(time.Second)}
		r.why.renewBefore = reasonDuration
	}
	if s.renewBefore != 0 {
		life.RenewBefore = s.renewBefore
		if (s.renewBefore < minRenewBefore || s.renewBefore >= life.Duration) && r.sound(keyDuration) {
			r.refuse(keyRenewBefore, "must be at least "+ShortDuration(minRenewBefore)+
				" and less than the lifetime of "+ShortDuration(life.Duration))
		}
	}
	return life
}

func (d *Defaults) checkDuration(duration time.Duration) error {
	if duration < d.MinDuration || duration > d.MaxDuration {
		return fmt.Errorf("must be from %s to %s, the bounds of the configuration (lifetimes)", ShortDuration(d.MinDuration), ShortDuration(d.MaxDuration))
	}
	return nil
}

// ShortDuration formats whole seconds without the zero units of [time.Duration.String]:
// 2160h, 1h30m, 45s.
func ShortDuration(d time.Duration) string {
	text := d.Truncate(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = text[:len(text)-len("0s")]
	}
	if strings.HasSuffix(text, "h0m") {
		text = text[:len(text)-len("0m")]
	}
	return text
}

func (r *resolution) selection() Selection {
	s := &r.settings
	selection := Selection{Exclude: r.defaults.ExcludeContainers}
	if len(s.exclude) > 0 {
		selection.Exclude = slices.Concat(selection.Exclude, s.exclude)
	}
	if len(s.containers) == 0 {
		return selection
	}
	selection.Only = slices.DeleteFunc(slices.Clone(s.containers), func(name string) bool {
		return slices.Contains(s.exclude, name)
	})
	if len(selection.Only) == 0 {
		r.refuse(keyContainers, "exclude-containers takes out every one of them")
	}
	if _, byNamespace := r.isSet(keyContainers); !byNamespace {
		r.warnAbsent(selection.Only)
	}
	return selection
}

// warnAbsent warns of containers that the pod does not have. It is no error, for another
// webhook may add them yet.
func (r *resolution) warnAbsent(names []string) {
	var present []string
	for _, list := range [][]Container{r.pod.Spec.InitContainers, r.pod.Spec.Containers} {
		for i := range list {
			if !list[i].IsAgent() {
				present = append(present, list[i].Name)
			}
		}
	}
	for _, name := range names {
		if !slices.Contains(present, name) {
			r.warn(Prefix + keyContainers + " names " + quote(name) + ", which the pod does not have" + didYouMean(name, present))
		}
	}
}

func (r *resolution) preStop() PreStop {
	hook := r.defaults.PreStop
	switch {
	case r.settings.preStop >= 0:
		hook.Seconds = r.settings.preStop
	case !r.settings.role.IsServer():
		hook.Seconds, r.why.preStop = 0, reasonClient
	}
	if hook.Method == PreStopAuto {
		hook.Method = PreStopExec
		if r.defaults.Kubernetes.Has(sleepActions()) {
			hook.Method = PreStopSleep
		}
	}
	return hook
}
