package intent_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"example.io/mtls-injector/intent"
)

// service returns a Service that selects app=<app>, or nothing when app is empty.
func service(name, app string) intent.Service {
	if app == "" {
		return intent.Service{Name: name}
	}
	return intent.Service{Name: name, Selector: map[string]string{"app": app}}
}

func headless(name, app string) intent.Service {
	svc := service(name, app)
	svc.Headless = true
	return svc
}

func externalName(name string) intent.Service {
	return intent.ServiceOf(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "db.example.com", Selector: map[string]string{"app": "web"}},
	})
}

func TestNamesFromServices(t *testing.T) {
	const domain = ".shop.svc.cluster.local"
	noService := []string{`no Service selects the pod yet: the certificate gets the names of its workload "web"`}
	noName := []string{`no Service selects the pod and its workload's name "web" is no name of its own: the certificate has no DNS name`}
	for name, c := range map[string]struct {
		services   []intent.Service
		names      []string
		perPod     []string
		commonName string
		warnings   []string
	}{
		"one":                         {[]intent.Service{service("web", "web")}, webNames, nil, "web" + domain, nil},
		"of another name":             {[]intent.Service{service("admin", "web")}, adminNames, nil, "admin" + domain, nil},
		"two, by name":                {[]intent.Service{service("web", "web"), service("admin", "web")}, names(), nil, "admin" + domain, nil},
		"those that select others":    {[]intent.Service{service("db", "db"), service("admin", "web"), service("api", "api")}, adminNames, nil, "admin" + domain, nil},
		"headless":                    {[]intent.Service{headless("web", "web")}, webNames, []string{"web" + domain}, "web" + domain, nil},
		"headless and not":            {[]intent.Service{headless("web", "web"), service("admin", "web")}, names(), []string{"web" + domain}, "admin" + domain, nil},
		"headless of others":          {[]intent.Service{headless("db", "db"), service("web", "web")}, webNames, nil, "web" + domain, nil},
		"none":                        {nil, webNames, nil, "web" + domain, noService},
		"none but of others":          {[]intent.Service{service("db", "db")}, webNames, nil, "web" + domain, noService},
		"the name selects others":     {[]intent.Service{service("web", "db")}, nil, nil, "", noName},
		"the name has no selector":    {[]intent.Service{service("web", "")}, nil, nil, "", noName},
		"the name is external":        {[]intent.Service{externalName("web")}, nil, nil, "", noName},
		"an external one besides":     {[]intent.Service{externalName("db"), service("web", "web")}, webNames, nil, "web" + domain, nil},
		"the name's owner is besides": {[]intent.Service{service("web", "db"), service("admin", "web")}, adminNames, nil, "admin" + domain, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, role := range []string{"server", "both"} {
				result := intent.Resolve(intent.BuiltinDefaults(), newNamespace(), newPod("role", role), c.services)
				id := mustIntent(t, result).Identity
				assert.Equal(t, c.names, id.DNSNames)
				assert.Equal(t, c.perPod, id.PerPodDomains)
				assert.Equal(t, c.commonName, id.Subject.CommonName)
				assert.Equal(t, c.warnings, result.Warnings)
			}
			result := intent.Resolve(intent.BuiltinDefaults(), newNamespace(), newPod("role", "client"), c.services)
			want := intent.Identity{SPIFFEID: "spiffe://cluster.local/ns/shop/sa/web-sa"}
			assert.Equal(t, want, mustIntent(t, result).Identity, "a client has no DNS name")
			assert.Empty(t, result.Warnings)
		})
	}
}

// TestWorkloadNameThatIsNoLabel: the first label would be another workload's name.
func TestWorkloadNameThatIsNoLabel(t *testing.T) {
	pod := ownedBy("apps/v1", "StatefulSet", "db.main")
	pod.Metadata.Annotations = annotations("role", "server")
	result := intent.Resolve(intent.BuiltinDefaults(), newNamespace(), pod, nil)
	assert.Empty(t, mustIntent(t, result).Identity.DNSNames)
	want := `no Service selects the pod and its workload's name "db.main" is no name of its own: the certificate has no DNS name`
	assert.Equal(t, []string{want}, result.Warnings)
}

func TestPerPodNames(t *testing.T) {
	result := intent.Resolve(intent.BuiltinDefaults(), newNamespace(), newPod("role", "server"),
		[]intent.Service{headless("web", "web"), headless("peers", "web")})
	id := mustIntent(t, result).Identity
	shared := append([]string{"peers", "peers.shop", "peers.shop.svc", "peers.shop.svc.cluster.local"}, webNames...)
	assert.Equal(t, append(shared[:8:8], "${POD_NAME}.peers.shop.svc.cluster.local", "${POD_NAME}.web.shop.svc.cluster.local"), id.PodDNSNames())
	assert.Equal(t, append(shared[:8:8], "*.peers.shop.svc.cluster.local", "*.web.shop.svc.cluster.local"), id.CompanionDNSNames())
	assert.Equal(t, shared, id.DNSNames, "neither changes the shared ones")
}

func TestServiceAnnotation(t *testing.T) {
	const refused = `metadata.annotations[mtls.example.io/service]: Invalid value: "`
	const unmatched = `does not exist in namespace "shop" or its selector does not match the pod's labels`
	for name, c := range map[string]struct {
		services []intent.Service
		value    string
		want     []string
	}{
		"of others":      {[]intent.Service{service("web", "web"), service("db", "db")}, "db", []string{refused + `db": Service "db" ` + unmatched + `; allowed: web`}},
		"absent":         {[]intent.Service{service("web", "web"), service("admin", "web")}, "nope", []string{refused + `nope": Service "nope" ` + unmatched + `; allowed: admin, web`}},
		"mistyped":       {[]intent.Service{service("storefront", "web")}, "storefrnt", []string{refused + `storefrnt": Service "storefrnt" ` + unmatched + `; did you mean "storefront"?; allowed: storefront`}},
		"none selects":   {nil, "web", []string{refused + `web": Service "web" ` + unmatched + `; no Service selects this pod`}},
		"external":       {[]intent.Service{externalName("web")}, "web", []string{refused + `web": Service "web" ` + unmatched + `; no Service selects this pod`}},
		"one of two":     {[]intent.Service{service("web", "web"), service("db", "db")}, "web,db", []string{refused + `web,db": Service "db" ` + unmatched + `; allowed: web`}},
		"both are wrong": {nil, "a,b", []string{refused + `a,b": Service "a" ` + unmatched + `; no Service selects this pod`, refused + `a,b": Service "b" ` + unmatched + `; no Service selects this pod`}},
	} {
		t.Run(name, func(t *testing.T) {
			got := intent.Resolve(intent.BuiltinDefaults(), newNamespace(), newPod("role", "server", "service", c.value), c.services)
			assert.Equal(t, c.want, texts(got.Errors))
		})
	}
}

func TestManyAllowedServicesAreCut(t *testing.T) {
	services := fiveHundredServices()
	for i := range services {
		services[i].Selector = map[string]string{"app": "web"}
	}
	got := intent.Resolve(intent.BuiltinDefaults(), newNamespace(), newPod("role", "server", "service", "unheard-of"), services)
	assertShort(t, got.Errors[0].Error())
	assert.True(t, strings.HasSuffix(got.Errors[0].Detail, "service-105, service-106 and 490 more"), got.Errors[0].Detail)
}

func TestServiceOfAClientHasNoEffect(t *testing.T) {
	result := resolve("role", "client", "service", "web")
	assert.Empty(t, mustIntent(t, result).Identity.DNSNames)
	assert.Equal(t, []string{"mtls.example.io/service has no effect with role: client, which serves nobody"}, result.Warnings)
}

// grants allow names to the team "retail" only.
func grants(team string) *intent.Defaults {
	d := intent.BuiltinDefaults()
	d.AllowedNames = []intent.NameRule{
		{
			Namespaces:  labels.SelectorFromSet(labels.Set{"team": "payments"}),
			DNSNames:    []string{"pay.example.com", "web.bank.svc.cluster.local"},
			CommonNames: []string{"Payments"},
		},
		{
			Namespaces:  labels.SelectorFromSet(labels.Set{"team": team}),
			DNSNames:    []string{"shop.example.com", "*.shop.example.com"},
			CommonNames: []string{"The Shop"}, Organizations: []string{"Retail"}, OrganizationalUnits: []string{"Web", "Back Office"},
		},
	}
	return d
}

func TestSubject(t *testing.T) {
	const organizations = `metadata.annotations[mtls.example.io/organizations]: Invalid value: "`
	const units = `metadata.annotations[mtls.example.io/organizational-units]: Invalid value: "`
	const why = `is not granted to namespace "shop" by the configuration (identity.allow)`
	for name, c := range map[string]struct {
		team  string
		pairs []string
		want  []string
	}{
		"granted":               {"retail", []string{"organizations", "Retail", "organizational-units", "Back Office,Web"}, nil},
		"another's":             {"retail", []string{"organizations", "Bank"}, []string{organizations + `Bank": "Bank" ` + why + `; allowed: Retail`}},
		"one of two":            {"retail", []string{"organizations", "Retail,Bank"}, []string{organizations + `Retail,Bank": "Bank" ` + why + `; allowed: Retail`}},
		"in another case":       {"retail", []string{"organizations", "retail"}, []string{organizations + `retail": "retail" ` + why + `; allowed: Retail; did you mean "Retail"?`}},
		"unit as organization":  {"retail", []string{"organizations", "Web"}, []string{organizations + `Web": "Web" ` + why + `; allowed: Retail`}},
		"a common name as unit": {"retail", []string{"organizational-units", "The Shop"}, []string{units + `The Shop": "The Shop" ` + why + `; allowed: Web, Back Office`}},
		"to another team":       {"other", []string{"organizations", "Retail"}, []string{organizations + `Retail": "Retail" ` + why}},
		"masters":               {"other", []string{"organizations", "system:masters"}, []string{organizations + `system:masters": "system:masters" ` + why}},
	} {
		t.Run(name, func(t *testing.T) {
			result := intent.Resolve(grants(c.team), newNamespace(), newPod(append(c.pairs, "role", "client")...), nil)
			assert.Equal(t, c.want, texts(result.Errors))
		})
	}
}

func TestWorkloadNamesAreTurnedOff(t *testing.T) {
	d := intent.BuiltinDefaults()
	d.WorkloadNames = false
	result := intent.Resolve(d, newNamespace(), newPod("role", "server"), nil)
	assert.Empty(t, mustIntent(t, result).Identity.DNSNames)
	assert.False(t, result.NamedByWorkload)
	refused := intent.Resolve(d, newNamespace(), newPod("role", "server", "dns-names", "web"), nil)
	assert.Equal(t, []string{"metadata.annotations[mtls.example.io/dns-names]"}, fields(refused.Errors))
}

// TestNamedByWorkload: who lets the pod in has to verify its workload only where a name
// rests on it.
func TestNamedByWorkload(t *testing.T) {
	for name, c := range map[string]struct {
		services []intent.Service
		pairs    []string
		want     bool
	}{
		"no Service":                 {nil, []string{"role", "server"}, true},
		"its Service":                {[]intent.Service{service("web", "web")}, []string{"role", "server"}, false},
		"another Service":            {[]intent.Service{service("admin", "web")}, []string{"role", "server"}, false},
		"asked for besides":          {[]intent.Service{service("admin", "web")}, []string{"role", "server", "dns-names", "web.shop"}, true},
		"asked for, its Service's":   {twoServices(), []string{"role", "server", "dns-names", "web.shop"}, false},
		"asked for by a client":      {nil, []string{"role", "client", "dns-names", "web"}, true},
		"a client":                   {nil, []string{"role", "client"}, false},
		"the name is another's":      {[]intent.Service{service("web", "db")}, []string{"role", "server"}, false},
		"the common name of Service": {twoServices(), []string{"role", "server", "common-name", "web"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			result := intent.Resolve(intent.BuiltinDefaults(), newNamespace(), newPod(c.pairs...), c.services)
			mustIntent(t, result)
			assert.Equal(t, c.want, result.NamedByWorkload)
		})
	}
}

func TestDNSNames(t *testing.T) {
	own := append(append([]string{}, names()...), "web.shop.svc.cluster.local")
	for _, name := range append(own, "shop.example.com", "a.shop.example.com", "*.shop.example.com") {
		t.Run("granted "+name, func(t *testing.T) {
			result := intent.Resolve(grants("retail"), newNamespace(), newPod("role", "server", "dns-names", name), twoServices())
			assert.Contains(t, mustIntent(t, result).Identity.DNSNames, name)
			assert.Len(t, result.Intent.Identity.DNSNames, map[bool]int{true: 9, false: 8}[strings.Contains(name, "example")], "no name twice")
		})
	}
	missing := func(service string) string {
		return `; it is the pod's own once Service "` + service + `" exists and selects it`
	}
	const others = `; Service "cache" selects other pods: give this one the labels of its selector, or leave the name out`
	const perPod = "; a pod gets its own name below a headless Service by itself"
	for name, remedy := range map[string]string{
		"db": missing("db"), "db.shop": missing("db"), "db.shop.svc": missing("db"), "db.shop.svc.cluster.local": missing("db"),
		"shop": missing("shop"), "svc": missing("svc"), "webs": missing("webs"), "we": missing("we"),
		"cache": others, "cache.shop": others, "cache.shop.svc.cluster.local": others,
		"kubernetes.default.svc": `; it is a name of namespace "default"`,
		"web.bank.svc":           `; it is a name of namespace "bank"`, "web.bank.svc.cluster.local": `; it is a name of namespace "bank"`,
		"web.shop.svc.svc": "", "shop.svc": "", "web.bank": "", "pay.example.com": "", "web.shop.svc.cluster": "",
		"web.shop.svc.cluster.local.example.com": "", "a.b.shop.example.com": "", "xshop.example.com": "", "example.com": "",
		"*.example.com": "", "*.shop": "", "*.shop.svc.cluster.local": "", "*.web.shop.svc.cluster.local": "", "*.web.shop": "",
		"web-0.web.shop.svc.cluster.local": perPod, "10.0.0.1": "",
	} {
		t.Run("refused "+name, func(t *testing.T) {
			result := intent.Resolve(grants("retail"), newNamespace(), newPod("role", "server", "dns-names", name), append(twoServices(), service("cache", "cache")))
			want := `metadata.annotations[mtls.example.io/dns-names]: Invalid value: "` + name + `": the pod may not claim "` + name +
				`": it is neither a name of a Service that selects the pod, nor of its workload, nor granted to namespace "shop" by the configuration (identity.allow)` + remedy
			assert.Equal(t, []string{want}, texts(result.Errors))
		})
	}
}

// TestGrantsAreOfTheNamespace: the same name in a namespace of another team is refused.
func TestGrantsAreOfTheNamespace(t *testing.T) {
	for name, pairs := range map[string][]string{"DNS name": {"dns-names", "shop.example.com"}, "common name": {"common-name", "The Shop"}} {
		t.Run(name, func(t *testing.T) {
			pod := newPod(append(pairs, "role", "client")...)
			mustIntent(t, intent.Resolve(grants("retail"), newNamespace(), pod, nil))
			assert.Len(t, intent.Resolve(grants("other"), newNamespace(), pod, nil).Errors, 1)
			unlabelled := newNamespace()
			unlabelled.Labels = nil
			assert.Len(t, intent.Resolve(grants("retail"), unlabelled, pod, nil).Errors, 1)
		})
	}
}

// TestWorkloadNameAsDNSName: it is the pod's own beside its Services' names, too, unless
// another's Service has it.
func TestWorkloadNameAsDNSName(t *testing.T) {
	pod := newPod("role", "server", "dns-names", "web.shop.svc")
	own := intent.Resolve(intent.BuiltinDefaults(), newNamespace(), pod, []intent.Service{service("admin", "web")})
	assert.Equal(t, append(adminNames[:4:4], "web.shop.svc"), mustIntent(t, own).Identity.DNSNames)

	squatted := intent.Resolve(intent.BuiltinDefaults(), newNamespace(), pod, []intent.Service{service("admin", "web"), service("web", "db")})
	assert.Equal(t, []string{"metadata.annotations[mtls.example.io/dns-names]"}, fields(squatted.Errors))
}

func TestCommonName(t *testing.T) {
	const refused = `metadata.annotations[mtls.example.io/common-name]: Invalid value: "`
	const why = `": must be one of the certificate's DNS names or granted to namespace "shop" by the configuration (identity.allow)`
	long := strings.Repeat("l", 63)
	for name, c := range map[string]struct {
		services []intent.Service
		pairs    []string
		want     string
		errors   []string
	}{
		"a DNS name":                 {twoServices(), []string{"role", "server", "common-name", "web"}, "web", nil},
		"a granted DNS name":         {twoServices(), []string{"role", "server", "common-name", "shop.example.com", "dns-names", "shop.example.com"}, "shop.example.com", nil},
		"granted":                    {twoServices(), []string{"role", "server", "common-name", "The Shop"}, "The Shop", nil},
		"a client's, granted":        {nil, []string{"role", "client", "common-name", "The Shop"}, "The Shop", nil},
		"a client's, by default":     {twoServices(), []string{"role", "client"}, "", nil},
		"63 bytes of name":           {[]intent.Service{service(long, "web")}, []string{"role", "server"}, "", nil},
		"64 bytes in all":            {[]intent.Service{service(long[:41], "web")}, []string{"role", "server"}, long[:41] + ".shop.svc.cluster.local", nil},
		"65 bytes in all":            {[]intent.Service{service(long[:42], "web")}, []string{"role", "server"}, "", nil},
		"only the first full one":    {[]intent.Service{service(long, "web"), service("web", "web")}, []string{"role", "server"}, "", nil},
		"asked for, long":            {[]intent.Service{service(long, "web")}, []string{"role", "server", "common-name", long}, long, nil},
		"another's":                  {twoServices(), []string{"role", "server", "common-name", "db.shop"}, "", []string{refused + "db.shop" + why + `; did you mean "web.shop"?`}},
		"in another case":            {twoServices(), []string{"role", "server", "common-name", "the shop"}, "", []string{refused + "the shop" + why}},
		"granted as DNS name only":   {twoServices(), []string{"role", "server", "common-name", "shop.example.com"}, "", []string{refused + "shop.example.com" + why}},
		"granted to others":          {twoServices(), []string{"role", "server", "common-name", "Payments"}, "", []string{refused + "Payments" + why}},
		"a client's Service":         {twoServices(), []string{"role", "client", "common-name", "web"}, "", []string{refused + "web" + why}},
		"a look-alike":               {twoServices(), []string{"role", "server", "common-name", cyrillic}, "", []string{refused + cyrillic + why + `; did you mean "web"?`}},
		"of a Service left out":      {twoServices(), []string{"role", "server", "service", "web", "common-name", "admin"}, "", []string{refused + "admin" + why}},
		"a per-pod name":             {[]intent.Service{headless("web", "web")}, []string{"role", "server", "common-name", "*.web.shop.svc.cluster.local"}, "", []string{refused + "*.web.shop.svc.cluster.local" + why + `; did you mean "web.shop.svc.cluster.local"?`}},
		"wildcard, granted as a DNS": {twoServices(), []string{"role", "server", "common-name", "x.shop.example.com"}, "", []string{refused + "x.shop.example.com" + why}},
	} {
		t.Run(name, func(t *testing.T) {
			got := intent.Resolve(grants("retail"), newNamespace(), newPod(c.pairs...), c.services)
			assert.Equal(t, c.errors, texts(got.Errors))
			if c.errors == nil {
				assert.Equal(t, c.want, mustIntent(t, got).Identity.Subject.CommonName)
			}
		})
	}
}

func TestSPIFFEID(t *testing.T) {
	for name, c := range map[string]struct{ account, want, err string }{
		"service account": {account: "web-sa", want: "spiffe://cluster.local/ns/shop/sa/web-sa"},
		"none":            {want: "spiffe://cluster.local/ns/shop/sa/default"},
		"with dots":       {account: "web.v2", want: "spiffe://cluster.local/ns/shop/sa/web.v2"},
		"path":            {account: "x/../../bank/sa/y", err: `spec.serviceAccountName: Invalid value: "x/../../bank/sa/y": ` + notObjectName},
		"second URI":      {account: "x,spiffe://a/b", err: `spec.serviceAccountName: Invalid value: "x,spiffe://a/b": ` + notObjectName},
		"variable":        {account: "${POD_NAME}", err: `spec.serviceAccountName: Invalid value: "${POD_NAME}": ` + notObjectName},
	} {
		t.Run(name, func(t *testing.T) {
			pod := newPod("role", "client")
			pod.Spec.ServiceAccountName = c.account
			pod.Metadata.Namespace = "bank" // what the object says does not count
			got := intent.Resolve(intent.BuiltinDefaults(), newNamespace(), pod, nil)
			if c.err != "" {
				assert.Equal(t, []string{c.err}, texts(got.Errors))
				return
			}
			assert.Equal(t, c.want, mustIntent(t, got).Identity.SPIFFEID)
		})
	}
}
