package intent

// The guard: hand-written volumes of cert-manager's CSI driver, which signs whatever they
// ask for, are held to the rules that hold for annotations.

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// CSIDriver is the name of cert-manager's CSI driver, and with a slash the prefix of its
// attributes (https://cert-manager.io/docs/usage/csi-driver/).
const CSIDriver = "csi.cert-manager.io"

// CertificateVolume and BundleVolume are the names of the volumes that are injected, with
// the key pair and with the CA bundle. They are reserved for them.
const (
	CertificateVolume = "mtls-certs"
	BundleVolume      = "mtls-ca"
)

// Admit decides as [Resolve] does, and holds the pod's hand-written volumes of
// cert-manager's CSI driver to the same rules, as Defaults.Guard says: what breaks them is
// an error, or with [ModeWarn] a warning. Paths of such errors begin at "spec". It is what
// admission and the command line ask; the controller, whose pods run already, asks Resolve.
func Admit(defaults *Defaults, ns *Namespace, pod *Pod, services []Service) Result {
	return guarded(defaults, ns, pod, services, Resolve(defaults, ns, pod, services))
}

// guarded adds to the result what the guard finds.
func guarded(defaults *Defaults, ns *Namespace, pod *Pod, services []Service, result Result) Result {
	if defaults.Guard == ModeOff || result.Skip == SkipMirrorPod || !mountsDriver(pod) {
		return result
	}
	g := guard{rights: rights{defaults: defaults, ns: ns, pod: pod}}
	g.learn(services)
	for i := range pod.Spec.Volumes {
		// The one that is injected is written, replaced or refused by the injector.
		if v := &pod.Spec.Volumes[i]; result.Skip != "" || v.Name != CertificateVolume {
			g.check(i, v)
		}
	}
	return g.add(result)
}

// add adds what was found to the result.
func (g *guard) add(result Result) Result {
	if g.defaults.Guard == ModeWarn {
		for _, err := range g.errs {
			g.warnings = append(g.warnings, err.Error())
		}
		g.errs = nil
	}
	if len(result.Errors)+len(g.errs) > 0 {
		return Result{Errors: append(slices.Clip(result.Errors), g.errs...)}
	}
	result.NamedByWorkload = result.NamedByWorkload || g.byWorkload
	result.Warnings = append(slices.Clip(result.Warnings), g.warnings...)
	return result
}

func mountsDriver(pod *Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v Volume) bool { return v.isDrivers() })
}

// isDrivers reports whether cert-manager's CSI driver makes the volume.
func (v *Volume) isDrivers() bool { return v.CSI != nil && v.CSI.Driver == CSIDriver }

// guard looks at a pod's volumes.
type guard struct {
	rights
	errs     field.ErrorList
	warnings []string

	// at is the path of the attributes that are looked at, and of returns one of them.
	at *field.Path
	of func(name string) string
}

func (g *guard) check(i int, v *Volume) {
	if !v.isDrivers() || g.isFull() {
		return
	}
	path := field.NewPath("spec", "volumes").Index(i).Child("csi")
	if v.CSI.ReadOnly == nil || !*v.CSI.ReadOnly {
		g.warnings = append(g.warnings, path.Child("readOnly").String()+" must be true: the driver mounts nothing else")
	}
	g.at = path.Child("volumeAttributes")
	g.of = func(name string) string { return v.CSI.VolumeAttributes[CSIDriver+"/"+name] }
	for _, key := range slices.Sorted(maps.Keys(v.CSI.VolumeAttributes)) {
		g.checkName(key)
	}
	g.checkIssuer()
	g.checkPrivateKey()
	for _, a := range attributes() {
		if value := g.of(a.name); a.check != nil && (value != "" || a.always) {
			for _, err := range a.check(g, value) {
				g.refuse(a.name, value, err.Error())
			}
		}
	}
}

// maxProblems is how many of a pod's problems are told: nobody reads more, and nobody is
// to make us write more.
const maxProblems = 50

func (g *guard) isFull() bool { return len(g.errs) > maxProblems }

func (g *guard) refuse(name, value, detail string) {
	g.append(field.Invalid(g.at.Key(CSIDriver+"/"+name), shorten(value), detail))
}

func (g *guard) append(err *field.Error) {
	switch {
	case len(g.errs) < maxProblems:
		g.errs = append(g.errs, err)
	case len(g.errs) == maxProblems:
		g.errs = append(g.errs, field.Invalid(field.NewPath("spec", "volumes"), len(g.pod.Spec.Volumes), "there are more problems than these"))
	}
}

// checkName refuses attributes that the driver does not know, and silently ignores; and
// those that are not for users to write.
func (g *guard) checkName(key string) {
	group, name, ok := strings.Cut(key, "/")
	switch {
	case g.isFull():
	case !ok || group == "csi.storage.k8s.io" || isCertManagers(group):
		g.append(field.Invalid(g.at.Key(printableKey(key)), shorten(key), "is not for users to write: the driver's attributes begin with "+CSIDriver+"/"))
	case group == CSIDriver && !slices.ContainsFunc(attributes(), func(a attribute) bool { return a.name == name }):
		g.append(field.Invalid(g.at.Key(printableKey(key)), shorten(key), unknownAttribute(name)))
	}
}

// isCertManagers reports whether attributes of the group would be annotations of the
// CertificateRequest that mean something to cert-manager itself. Those of one issuer, which
// are for users to write, name nobody.
func isCertManagers(group string) bool {
	const domain = "cert-manager.io"
	return group == domain || strings.HasSuffix(group, "."+domain) && group != CSIDriver && group != "venafi."+domain
}

func unknownAttribute(name string) string {
	var names []string
	for _, a := range attributes() {
		names = append(names, a.name)
	}
	return "unknown attribute, which the driver ignores; " + knownInstead(name, CSIDriver+"/", names)
}

// checkIssuer looks at three attributes as one.
func (g *guard) checkIssuer() {
	issuer := Issuer{Kind: "Issuer", Group: DefaultIssuerGroup} // the driver's defaults
	sound := true
	for _, part := range []struct {
		name  string
		of    *string
		check func(string) error
	}{
		{"issuer-name", &issuer.Name, objectName}, {"issuer-kind", &issuer.Kind, kindName}, {"issuer-group", &issuer.Group, objectName},
	} {
		value := g.of(part.name)
		if value == "" {
			continue
		}
		*part.of = value
		if err := part.check(value); err != nil {
			g.refuse(part.name, value, err.Error())
			sound = false
		}
	}
	if issuer.Name == "" {
		g.append(field.Required(g.at.Key(CSIDriver+"/issuer-name"), "the driver mounts nothing without it"))
	} else if err := g.checkAllowed(issuer); err != nil && sound {
		g.refuse("issuer-name", issuer.Name, err.Error())
	}
}

// variables are what the driver expands. A pod that gets its name later stands for all
// names that it could get: they begin alike, and nothing but letters and digits follows.
func (g *guard) variables() map[string]string {
	return map[string]string{
		"POD_NAME":             g.podName(),
		"POD_NAMESPACE":        g.ns.Name,
		"SERVICE_ACCOUNT_NAME": g.serviceAccount(),
		"POD_UID":              "00000000-0000-0000-0000-000000000000",
	}
}

func (g *guard) podName() string {
	if meta := &g.pod.Metadata; meta.Name != "" {
		return meta.Name
	}
	const random, longest = "xxxxx", 63 // as the API server makes names
	prefix := g.pod.Metadata.GenerateName
	return prefix[:min(len(prefix), longest-len(random))] + random
}

var errVariable = errors.New("has a variable that the driver does not expand: only ${POD_NAME}, ${POD_NAMESPACE}, ${POD_UID} and ${SERVICE_ACCOUNT_NAME} are, and '$' stands for nothing else")

// expand returns what the driver makes of a text with variables, $NAME or ${NAME}.
func (g *guard) expand(text string) (string, error) {
	var out strings.Builder
	known := g.variables()
	for {
		before, rest, found := strings.Cut(text, "$")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		name, after := variableName(rest)
		value, ok := known[name]
		if !ok {
			return "", errVariable
		}
		out.WriteString(value)
		text = after
	}
}

// variableName splits what follows a '$'. The name is empty where there is none.
func variableName(text string) (name, rest string) {
	if inner, ok := strings.CutPrefix(text, "{"); ok {
		name, rest, ok = strings.Cut(inner, "}")
		if !ok {
			return "", text
		}
		return name, rest
	}
	end := strings.IndexFunc(text, func(r rune) bool {
		return r != '_' && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	if end < 0 {
		end = len(text)
	}
	return text[:end], text[end:]
}
