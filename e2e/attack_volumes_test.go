package e2e

// Attacks by volumes of the CSI driver that the attacker writes himself.

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"example.io/mtls-injector/e2e/csidriver"
	"example.io/mtls-injector/intent"
)

func volumeAttacks() []attack {
	return []attack{
		{"a volume written by hand", tryAll(handWrittenVolumes())},
		{"a volume where nothing is injected", tryAll(uninjected())},
		{"the injected volume written by hand", tryAll(reserved())},
		{"another service account's SPIFFE ID", tryAll(serviceAccounts())},
		{"a certificate authority", tryAll(authorities())},
	}
}

// The remedies that the guard tells, as annotations' refusals do.
const (
	selectsOthers = `; Service "payments" selects other pods: give this one the labels of its selector, or leave the name out`
	ofTheOther    = `; it is a name of namespace "{other}"`
)

// A neighbour's name, and another namespace's.
const payments, vault = "payments.{ns}.svc", "vault.{other}.svc"

func handWrittenVolumes() map[string]attempt {
	named := func(name string) func(*corev1.Pod) { return func(pod *corev1.Pod) { pod.Name = name } }
	expands := "has a variable that the driver does not expand: only ${POD_NAME}, ${POD_NAMESPACE}, ${POD_UID} and ${SERVICE_ACCOUNT_NAME} are, and '$' stands for nothing else"
	return map[string]attempt{
		"its own names, which are right": {attribute: "dns-names", value: "mallory.{ns}.svc, ${POD_NAME}.mallory.{ns}.svc.cluster.local"},
		"a neighbour's":                  {attribute: "dns-names", value: payments, why: notOwn(payments) + selectsOthers},
		"another namespace's":            {attribute: "dns-names", value: vault, why: notOwn(vault) + ofTheOther},
		"among its own":                  {attribute: "dns-names", value: "mallory.{ns}.svc, " + vault, why: notOwn(vault) + ofTheOther},
		"in capitals":                    {attribute: "dns-names", value: "Payments.{ns}.svc", why: item("Payments.{ns}.svc", mustBeDNS)},
		"a trailing dot":                 {attribute: "dns-names", value: payments + ".", why: item(payments+".", mustBeDNS)},
		"a wildcard":                     {attribute: "dns-names", value: "*.{ns}.svc", why: notOwn("*.{ns}.svc")},
		"an empty item":                  {attribute: "dns-names", value: "mallory.{ns}.svc,", why: item("", mustBeDNS)},
		"the namespace's variable":       {attribute: "dns-names", value: "payments.${POD_NAMESPACE}.svc", why: notOwn(payments) + selectsOthers},
		"the pod's name":                 {attribute: "dns-names", value: "${POD_NAME}.{ns}.svc", change: named("payments"), why: notOwn(payments) + selectsOthers},
		"the pod's name, all of it":      {attribute: "dns-names", value: "$POD_NAME", change: named(vault), why: notOwn(vault) + ofTheOther},
		"the pod's name, headless":       {attribute: "dns-names", value: "${POD_NAME}.db.{ns}.svc.cluster.local", change: named("db-7"), why: notOwn("db-7.db.{ns}.svc.cluster.local") + "; a pod gets its own name below a headless Service by itself"},
		"another's name, headless":       {attribute: "dns-names", value: "db-0.mallory.{ns}.svc.cluster.local", why: notOwn("db-0.mallory.{ns}.svc.cluster.local") + "; a pod gets its own name below a headless Service by itself"},
		"a generated name": {attribute: "dns-names", value: "${POD_NAME}.{ns}.svc", why: notOwn("payments-xxxxx.{ns}.svc") + `; it is the pod's own once Service "payments-xxxxx" exists and selects it`,
			change: func(pod *corev1.Pod) { pod.Name, pod.GenerateName = "", "payments-" }},
		"another variable":        {attribute: "dns-names", value: "${HOSTNAME}.{ns}.svc", why: expands},
		"a variable not closed":   {attribute: "dns-names", value: "${POD_NAME.{ns}.svc", why: expands},
		"common-name":             {attribute: "common-name", value: payments, why: notOwn(payments) + selectsOthers},
		"common-name, a variable": {attribute: "common-name", value: "${SERVICE_ACCOUNT_NAME}", why: notOwn("default") + `; it is the pod's own once Service "default" exists and selects it`},
		"literal-subject":         {attribute: "literal-subject", value: "CN=" + payments, why: "may say anything: write common-name, organizations and the like in its place"},
		"organizations":           {attribute: "organizations", value: `"system:masters"`, why: notGranted("system:masters")},
		"organizationalunits":     {attribute: "organizationalunits", value: "${POD_NAME}", why: notGranted("mallory")},
		"countries":               {attribute: "countries", value: "DE", why: notGranted("DE")},
		"serialnumber":            {attribute: "serialnumber", value: "1204", why: notGranted("1204")},
		"ip-sans":                 {attribute: "ip-sans", value: "10.96.0.1", why: `item "10.96.0.1": is not granted to namespace "{ns}" by the configuration (identity.allow)`},
		"another issuer": {attribute: "issuer-name", value: "public", volume: map[string]string{"issuer-kind": "ClusterIssuer"},
			why: `issuer ClusterIssuer/public is not allowed in namespace "{ns}"; allowed by the configuration: Issuer/companions`},
		"a lifetime without end": {attribute: "duration", value: "876000h", why: "must be from 1h to 8760h, the bounds of the configuration (lifetimes)"},
		"a weak key":             {attribute: "key-size", value: "1024", volume: map[string]string{"key-algorithm": "RSA"}, why: "must be from 2048 to 8192 for RSA, not 1024"},
		"a slip": {attribute: "dns-name", value: payments, shown: csidriver.Prefix + "dns-name",
			why: `unknown attribute, which the driver ignores; did you mean "csi.cert-manager.io/dns-names"?`},
		"the second volume": {attribute: "dns-names", value: "mallory.{ns}.svc", field: "spec.volumes[1].csi.volumeAttributes[csi.cert-manager.io/dns-names]",
			shown: "worker", why: notOwn("worker") + `; it is the pod's own once Service "worker" exists and selects it`,
			change: func(pod *corev1.Pod) { pod.Spec.Volumes = append(pod.Spec.Volumes, volumeOf("second", "worker")) }},
		"64 KiB": {attribute: "dns-names", value: strings.Repeat("a", 64<<10), shown: strings.Repeat("a", 120) + "…", why: item(strings.Repeat("a", 120)+"…", mustBeDNS)},
	}
}

// volumeOf is a hand-written volume with these DNS names.
func volumeOf(name, names string) corev1.Volume {
	return handWritten(name, map[string]string{"dns-names": names})
}

// uninjected are the pods that get nothing from the injector, and are looked at all the same.
func uninjected() map[string]attempt {
	claim := attempt{attribute: "dns-names", value: payments, why: notOwn(payments) + selectsOthers}
	with := func(change func(*corev1.Pod)) attempt {
		a := claim
		a.change = change
		return a
	}
	return map[string]attempt{
		"role none":           with(func(pod *corev1.Pod) { pod.Annotations = map[string]string{intent.Prefix + "role": "none"} }),
		"no role":             with(func(pod *corev1.Pod) { pod.Annotations = map[string]string{intent.Prefix + "env": "curl"} }),
		"no annotations":      with(func(pod *corev1.Pod) { pod.Annotations = nil }),
		"Windows":             with(func(pod *corev1.Pod) { pod.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }),
		"Windows by selector": with(func(pod *corev1.Pod) { pod.Spec.NodeSelector = map[string]string{corev1.LabelOSStable: "windows"} }),
		"excluded containers": with(func(pod *corev1.Pod) { pod.Annotations[intent.Prefix+"exclude-containers"] = "app" }),
		"forged label":        with(func(pod *corev1.Pod) { pod.Labels[intent.LabelInjected] = "true" }),
		"an init container": with(func(pod *corev1.Pod) {
			pod.Spec.InitContainers = []corev1.Container{{Name: "init", Image: "example.com/app", VolumeMounts: []corev1.VolumeMount{{Name: "own", MountPath: "/own"}}}}
		}),
	}
}

// reserved are pods with a volume of the injected one's name, as a second call of the
// webhook, or a pod copied from its YAML, would have it.
func reserved() map[string]attempt {
	const status = `{"version":"dev","role":"server"}`
	with := func(annotations map[string]string) func(*corev1.Pod) {
		return func(pod *corev1.Pod) {
			metav1.SetMetaDataAnnotation(&pod.ObjectMeta, intent.AnnotationStatus, status)
			for key, value := range annotations {
				metav1.SetMetaDataAnnotation(&pod.ObjectMeta, intent.Prefix+key, value)
			}
			pod.Labels[intent.LabelInjected] = "true"
			pod.Spec.Volumes = []corev1.Volume{volumeOf("mtls-certs", "worker")}
		}
	}
	const taken = "the name is reserved for the volume that is injected: give yours another name"
	atName := "spec.volumes[0].name"
	return map[string]attempt{
		// It is replaced by the right one.
		"with a forged status": {change: with(nil)},
		"without":              {field: atName, shown: "mtls-certs", why: taken, change: func(pod *corev1.Pod) { pod.Spec.Volumes = []corev1.Volume{volumeOf("mtls-certs", "worker")} }},
		"and role none": {field: "spec.volumes[0].csi.volumeAttributes[csi.cert-manager.io/dns-names]", shown: "worker",
			why: notOwn("worker") + `; it is the pod's own once Service "worker" exists and selects it`, change: with(map[string]string{"role": "none"})},
		"and delivery secret": {change: with(map[string]string{"delivery": "secret"})},
	}
}

// serviceAccounts try for the SPIFFE ID of an account that the pod does not run as.
func serviceAccounts() map[string]attempt {
	const own, theirs = "spiffe://cluster.local/ns/{ns}/sa/default", "spiffe://cluster.local/ns/{ns}/sa/payments"
	refusal := func(uri string) string {
		return item(uri, `the pod's SPIFFE ID is "`+own+`", that of its namespace and service account`)
	}
	form := func(uri string) string { return item(uri, "must be an absolute URI in its usual form") }
	named := func(pod *corev1.Pod) { pod.Name = "payments" }
	return map[string]attempt{
		"a volume":                   {attribute: "uri-sans", value: theirs, why: refusal(theirs)},
		"a volume, as well":          {attribute: "uri-sans", value: own + "," + theirs, why: refusal(theirs)},
		"another namespace's":        {attribute: "uri-sans", value: "spiffe://cluster.local/ns/{other}/sa/default", why: refusal("spiffe://cluster.local/ns/{other}/sa/default")},
		"a variable":                 {attribute: "uri-sans", value: "spiffe://cluster.local/ns/{ns}/sa/${POD_NAME}", change: named, why: refusal(theirs)},
		"a scheme in capitals":       {attribute: "uri-sans", value: "SPIFFE://cluster.local/ns/{ns}/sa/payments", why: form("SPIFFE://cluster.local/ns/{ns}/sa/payments")},
		"a trust domain in capitals": {attribute: "uri-sans", value: "spiffe://Cluster.Local/ns/{ns}/sa/payments", why: refusal("spiffe://Cluster.Local/ns/{ns}/sa/payments")},
		"a port":                     {attribute: "uri-sans", value: "spiffe://cluster.local:443/ns/{ns}/sa/payments", why: refusal("spiffe://cluster.local:443/ns/{ns}/sa/payments")},
		"a path that climbs":         {attribute: "uri-sans", value: own + "/../payments", why: refusal(own + "/../payments")},
		"an escaped letter":          {attribute: "uri-sans", value: "spiffe://cluster.local/ns/{ns}/sa/p%61yments", why: refusal("spiffe://cluster.local/ns/{ns}/sa/p%61yments")},
		"a query":                    {attribute: "uri-sans", value: theirs + "?a=b", why: refusal(theirs + "?a=b")},
		"a space before it":          {attribute: "uri-sans", value: own + ", " + theirs, why: form(" " + theirs)},
		"another trust domain":       {attribute: "uri-sans", value: "spiffe://partner.example/ns/{ns}/sa/payments", why: item("spiffe://partner.example/ns/{ns}/sa/payments", `is neither the pod's SPIFFE ID "`+own+`" nor granted to namespace "{ns}" by the configuration (identity.allow)`)},
		// The pod runs with the one that the second field names, and so it is called.
		"two names of an account": {change: func(pod *corev1.Pod) {
			pod.Spec.DeprecatedServiceAccount, pod.Spec.ServiceAccountName = "payments", "default"
		}},
		"one that does not exist": {change: func(pod *corev1.Pod) { pod.Spec.ServiceAccountName = "ghost" },
			byServer: `pods "mallory" is forbidden: error looking up service account {ns}/ghost: serviceaccount "ghost" not found`},
		"one that is a path": {change: func(pod *corev1.Pod) { pod.Spec.ServiceAccountName = "default/../payments" },
			byServer: `pods "mallory" is forbidden: error looking up service account {ns}/default/../payments: ` +
				`invalid resource name "default/../payments": [may not contain '/']`},
	}
}

// unknownKey is the refusal of a key that is like no other.
func unknownKey() string {
	var names []string
	for _, key := range intent.Keys() {
		if key.Scope != intent.ScopeStatus {
			names = append(names, key.Name)
		}
	}
	slices.Sort(names)
	return "unknown annotation; known under mtls.example.io/: " + strings.Join(names, ", ")
}

func authorities() map[string]attempt {
	const ca = "no pod is a certificate authority: leave it out"
	usage := func(value string) attempt {
		return attempt{attribute: "key-usages", value: value, why: item(value, "must be one of digital signature, key encipherment, server auth, client auth")}
	}
	return map[string]attempt{
		"is-ca":                {attribute: "is-ca", value: "true", why: ca},
		"is-ca, in capitals":   {attribute: "is-ca", value: "True", why: ca},
		"is-ca, 1":             {attribute: "is-ca", value: "1", why: ca},
		"to sign certificates": usage("cert sign"),
		"to sign lists":        usage("crl sign"),
		"for anything":         usage("any"),
		"to sign code":         usage("code signing"),
		"an annotation":        {key: "isca", value: "true", shown: intent.Prefix + "isca", why: unknownKey()},
	}
}
