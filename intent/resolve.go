package intent

import (
	"slices"
	"strconv"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Result is the outcome of [Resolve]: exactly one of Intent, Skip and Errors is set.
type Result struct {
	Intent *Intent
	Skip   SkipReason
	// Errors holds every problem at once. Paths of a pod start at "metadata", those of
	// its namespace at "namespace.metadata".
	Errors field.ErrorList
	// Warnings tell what is legal but odd; each is one sentence. They may accompany an
	// Intent or a Skip.
	Warnings []string
	// NamedByWorkload says that a DNS name is the pod's by its workload's name alone. A pod
	// says by itself which workload that is: whoever lets it in has to verify it.
	NamedByWorkload bool
}

// Resolve decides what the pod is and gets. For each key of the annotation table the
// pod's value beats its namespace's, and that beats the configuration's default.
// services are those of the pod's namespace, selecting the pod or not.
func Resolve(defaults *Defaults, ns *Namespace, pod *Pod, services []Service) Result {
	if !Concerns(pod.Metadata.Annotations) && !Concerns(ns.Annotations) {
		return Result{Skip: SkipNoRole}
	}
	r := resolution{rights: rights{defaults: defaults, ns: ns, pod: pod}, settings: newSettings(defaults)}
	return r.resolve(services)
}

func (r *resolution) resolve(services []Service) Result {
	r.collect()
	r.parse()
	skip := r.skip()
	if skip == SkipMirrorPod || skip == SkipWindows {
		return Result{Skip: skip}
	}
	if errs := r.problems(); len(errs) > 0 && r.settings.role == "" {
		return Result{Errors: errs} // without a role nothing else can be checked
	} else if skip != "" && len(errs) == 0 {
		return Result{Skip: skip, Warnings: r.warnings}
	} else if skip != "" {
		return Result{Errors: errs}
	}
	r.learn(services)
	in := r.intent()
	r.decided = in
	if errs := r.problems(); len(errs) > 0 {
		return Result{Errors: errs}
	}
	return Result{Intent: in, Warnings: r.warnings, NamedByWorkload: r.byWorkload}
}

// resolution is the state of one Resolve.
type resolution struct {
	rights

	raw      [len(table)]raw
	settings settings
	// podErrors and nsErrors are kept apart, for a pod that opts out is not refused for
	// what its namespace says.
	podErrors, nsErrors field.ErrorList
	warnings            []string

	// decided is what was decided, be it refused or not, and why has the reasons that are no
	// annotation, served the Services whose names it has: [Explain] tells them.
	decided *Intent
	why     reasons
	served  []Service
}

// raw is an annotation's value and where it stands; malformed says that the table
// refused the value.
type raw struct {
	value                     string
	set, namespace, malformed bool
}

// settings are the parsed values, on top of the configuration's. Zero values (-1 for
// preStop) stand for "not set" where the default depends on other values.
type settings struct {
	role                          Role
	delivery                      Delivery
	services, dnsNames            []string
	subject                       Subject
	issuer                        Issuer
	duration, renewBefore         time.Duration
	keyAlgorithm                  cmapi.PrivateKeyAlgorithm
	keySize                       int64
	containers, exclude           []string
	mountPath                     string
	bundle                        Bundle
	env                           []EnvProfile
	preStop                       int64
	fsGroup                       int64
	reload                        ReloadMode
	reloadSignal, reloadContainer string
	reloadProcess, reloadURL      string
	agent, companion              bool
	probes                        ProbeMode
}

func newSettings(d *Defaults) settings {
	return settings{
		delivery: d.Delivery, issuer: d.Issuer, keyAlgorithm: d.Key.Algorithm, bundle: d.CABundle,
		env: d.Env, preStop: -1, reload: d.Reload, companion: d.Companion, probes: d.Probes,
	}
}

// Concerns reports whether any of the annotations is one of the project's. Where neither
// a pod's nor its namespace's is, [Resolve] skips the pod.
func Concerns(annotations map[string]string) bool {
	for key := range annotations {
		if strings.HasPrefix(key, Prefix) {
			return true
		}
	}
	return false
}

// collect gathers the raw values, the pod's over its namespace's, and refuses keys that
// are unknown or stand where they may not.
func (r *resolution) collect() {
	var unknown [2][]string
	for i, annotations := range [2]map[string]string{r.ns.Annotations, r.pod.Metadata.Annotations} {
		namespace := i == 0
		for key, value := range annotations {
			name, ours := strings.CutPrefix(key, Prefix)
			if !ours {
				continue
			}
			switch row := lookup(name); {
			case row < 0 || namespace && table[row].Scope != ScopeAny:
				unknown[i] = append(unknown[i], name)
			case table[row].Scope != ScopeStatus:
				r.raw[row] = raw{value: value, set: true, namespace: namespace}
			}
		}
	}
	r.nsErrors, r.podErrors = refuseKeys(unknown[0], true), refuseKeys(unknown[1], false)
}

// refuseKeys refuses keys that are unknown, or known but not for a Namespace. A pod has
// a handful of them at most; thousands are an attack, and looking for the nearest costs.
func refuseKeys(names []string, namespace bool) field.ErrorList {
	const most = 50
	if len(names) == 0 {
		return nil
	}
	var errs field.ErrorList
	root := annotationsPath(namespace)
	slices.Sort(names)
	for i, name := range names {
		if i == most {
			detail := "and " + strconv.Itoa(len(names)-most) + " more annotations that are unknown"
			return append(errs, field.Invalid(root, len(names), detail))
		}
		detail := "may stand on pods only, not on a Namespace"
		if lookup(name) < 0 {
			detail = unknownKey(name)
		}
		errs = append(errs, field.Invalid(root.Key(printableKey(Prefix+name)), shorten(Prefix+name), detail))
	}
	return errs
}

// printableKey returns a key for a field path, which shows it as it stands.
func printableKey(key string) string {
	text := quote(key)
	return text[1 : len(text)-1]
}

func annotationsPath(namespace bool) *field.Path {
	if namespace {
		return field.NewPath("namespace", "metadata", "annotations")
	}
	return field.NewPath("metadata", "annotations")
}

// parse reads the values in the order of the table.
func (r *resolution) parse() {
	for row := range table {
		if value := &r.raw[row]; value.set {
			if err := table[row].set(&r.settings, value.value); err != nil {
				value.malformed = true
				r.refuseRow(row, err.Error())
			}
		}
	}
}

// refuse records a problem with the value of a key, wherever it was set; with a value
// that nobody set, the problem is the configuration's and its path names the key.
func (r *resolution) refuse(key, detail string) { r.refuseRow(lookup(key), detail) }

func (r *resolution) refuseRow(row int, detail string) {
	value := &r.raw[row]
	path := annotationsPath(value.namespace).Key(Prefix + table[row].Name)
	err := field.Invalid(path, shorten(value.value), detail)
	if value.namespace {
		r.nsErrors = append(r.nsErrors, err)
		return
	}
	r.podErrors = append(r.podErrors, err)
}

// sound reports whether none of the keys is malformed. What hangs together is checked
// only then: the configuration's value stands in for a malformed one, and to compare
// others with it would make problems that are none.
func (r *resolution) sound(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(key string) bool { return r.raw[lookup(key)].malformed })
}

func (r *resolution) warn(text string) { r.warnings = append(r.warnings, text) }

// isSet reports whether pod or namespace sets the key, and which of them.
func (r *resolution) isSet(key string) (set, byNamespace bool) {
	value := &r.raw[lookup(key)]
	return value.set, value.namespace
}

// problems returns what there is to refuse: the pod's own problems first.
func (r *resolution) problems() field.ErrorList {
	if _, byNamespace := r.isSet(keyRole); r.settings.role == RoleNone && !byNamespace {
		return r.podErrors
	}
	return append(slices.Clip(r.podErrors), r.nsErrors...)
}

// skip returns why the pod is to be left alone, or "".
func (r *resolution) skip() SkipReason {
	_, mirror := r.pod.Metadata.Annotations[corev1.MirrorPodAnnotationKey]
	switch {
	case mirror:
		return SkipMirrorPod
	case r.settings.role == RoleNone:
		return SkipRoleNone
	case r.settings.role == "":
		if r.podSetsKeys() {
			r.warn("the pod has annotations under " + Prefix + " but no role, so they have no effect: set " + Prefix + keyRole)
		}
		return SkipNoRole
	case isWindows(&r.pod.Spec):
		return SkipWindows
	}
	return ""
}

// podSetsKeys reports whether somebody set a key on the pod. What the injector has
// written by itself is left over on a workload that opted out.
func (r *resolution) podSetsKeys() bool {
	return slices.ContainsFunc(r.raw[:], func(value raw) bool { return value.set && !value.namespace })
}

func isWindows(spec *PodSpec) bool {
	if spec.OS != nil {
		return spec.OS.Name == corev1.Windows
	}
	return spec.NodeSelector[corev1.LabelOSStable] == string(corev1.Windows)
}
