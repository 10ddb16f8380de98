package injector_test

// Pods and intents made from bytes, for the fuzz targets: everything that the injector
// looks at in all its forms, among things that it has never heard of.

import (
	"strconv"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"

	"example.io/mtls-injector/intent"
)

// object is a JSON object.
type object = map[string]any

// dice turns bytes into choices; without bytes it always chooses the first.
type dice struct{ bytes []byte }

func (d *dice) roll(sides int) int {
	if len(d.bytes) == 0 {
		return 0
	}
	n := int(d.bytes[0]) % sides
	d.bytes = d.bytes[1:]
	return n
}

func (d *dice) yes() bool { return d.roll(2) == 1 }

func pick[T any](d *dice, choices ...T) T { return choices[d.roll(len(choices))] }

// some picks each choice or not.
func some[T any](d *dice, choices ...T) []T {
	var picked []T
	for _, choice := range choices {
		if d.yes() {
			picked = append(picked, choice)
		}
	}
	return picked
}

// maybe sets a member, leaves it out, or sets it to null.
func maybe(d *dice, o object, key string, value any) {
	switch d.roll(8) {
	case 0:
	case 1:
		o[key] = nil
	default:
		o[key] = value
	}
}

// unknown members are of Kubernetes versions to come; stripUnknown takes them out.
const unknown = "futureField"

func (d *dice) strange(o object) object {
	if d.yes() {
		o[unknown] = pick[any](d, "<&>\u2028", object{"deep": []any{1, nil, "é"}}, []any{}, uint64(18446744073709551615), nil)
	}
	return o
}

func generatePod(d *dice) object {
	meta := d.strange(object{"name": "pod", "namespace": "shop"})
	maybe(d, meta, "labels", d.labels())
	maybe(d, meta, "annotations", pick(d, object{}, object{"a/b": "c"}, object{intent.AnnotationStatus: "{}"}))
	spec := d.strange(object{"containers": d.containers("c", 1+d.roll(4))})
	init := d.containers("i", d.roll(4))
	if d.roll(6) == 1 {
		earlier := d.container("i-" + intent.AgentContainer)
		earlier["name"] = intent.AgentContainer
		init = append(init, earlier)
	}
	maybe(d, spec, "initContainers", init)
	maybe(d, spec, "volumes", d.volumes())
	maybe(d, spec, "terminationGracePeriodSeconds", pick(d, 30, 0, 5, 3600))
	maybe(d, spec, "shareProcessNamespace", true)
	maybe(d, spec, "securityContext", pick(d, object{}, object{"fsGroup": 2000}))
	return d.strange(object{"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
}

func (d *dice) volumes() []any {
	list := []any{}
	for _, name := range some(d, "data", "token") {
		list = append(list, d.strange(d.volume(name)))
	}
	for _, name := range []string{"mtls-certs", "mtls-ca"} {
		if d.roll(6) == 1 {
			list = append(list, d.strange(d.volume(name)))
		}
	}
	return list
}

func (d *dice) labels() object {
	if d.roll(12) == 1 {
		return object{intent.LabelInjected: "no"}
	}
	return pick(d, object{}, object{"app": "web"}, object{"app": "web", intent.LabelInjected: "true"})
}

func (d *dice) volume(name string) object {
	bundle := object{"name": "mtls-ca-bundle", "items": []any{object{"key": "ca.crt", "path": "ca.crt"}}}
	keyPair := []any{object{"key": "tls.crt", "path": "tls.crt"}, object{"key": "tls.key", "path": "tls.key"}}
	switch d.roll(6) {
	case 0:
		return object{"name": name, "emptyDir": object{}}
	case 1:
		attributes := object{"csi.cert-manager.io/issuer-name": "mtls-ca"}
		return object{"name": name, "csi": object{"driver": "csi.cert-manager.io", "readOnly": true, "volumeAttributes": attributes}}
	case 2:
		return object{"name": name, "csi": object{"driver": "other.example.io"}}
	case 3:
		return object{"name": name, "secret": object{"secretName": "web-mtls", "items": keyPair, "defaultMode": pick(d, 292, 288, 420)}}
	case 4:
		bundle["defaultMode"] = pick(d, 292, 420)
		return object{"name": name, "configMap": bundle}
	default:
		secret := object{"name": "web-mtls", "items": keyPair}
		return object{"name": name, "projected": object{"defaultMode": 292, "sources": []any{object{"secret": secret}, object{"configMap": bundle}}}}
	}
}

func (d *dice) containers(prefix string, n int) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = d.container(prefix + strconv.Itoa(i))
	}
	return list
}

func (d *dice) container(name string) object {
	c := d.strange(object{"name": name, "image": "registry.example/" + name})
	maybe(d, c, "command", pick(d, []any{}, []any{"/mtls-agent", "run"}, []any{"/bin/sh", "-c", "sleep 1"}))
	if name[0] == 'i' && d.yes() {
		c["restartPolicy"] = "Always"
	}
	maybe(d, c, "env", d.env())
	maybe(d, c, "volumeMounts", d.mounts())
	maybe(d, c, "lifecycle", d.lifecycle())
	for _, probe := range some(d, "livenessProbe", "readinessProbe", "startupProbe") {
		maybe(d, c, probe, d.probe())
	}
	return c
}

func (d *dice) env() []any {
	list := []any{}
	for _, name := range some(d, "PATH", "MTLS_ROLE", "PGSSLMODE", "PATH", "MTLS_CA_CERT") {
		from := object{"fieldRef": object{"fieldPath": "metadata.name"}}
		list = append(list, d.strange(pick(d, object{"name": name, "value": "server"}, object{"name": name, "valueFrom": from}, object{"name": name})))
	}
	return list
}

func (d *dice) mounts() []any {
	list := []any{}
	for range d.roll(3) {
		m := object{
			"name":      pick(d, "data", "mtls-certs", "token", "mtls-ca"),
			"mountPath": pick(d, "/data", "/var/run/secrets", "/etc/tls/serverless", "/etc/tls", "/", "data", "/etc"),
		}
		if d.roll(6) == 1 {
			m["mountPath"] = pick(d, "/etc/tls/server", "/etc/tls/ca/", "/certs", "/etc/tls/client/tls.key", "/etc/../certs/sub", "etc/tls/ca")
		}
		if d.roll(4) == 1 {
			m["subPath"] = "part"
		}
		list = append(list, d.strange(m))
	}
	return list
}

func (d *dice) lifecycle() object {
	l := d.strange(object{})
	sleep := func(n int) object { return object{"sleep": object{"seconds": n}} }
	own := object{"exec": object{"command": pick(d, []any{"sleep", "10"}, []any{"/drain"})}}
	maybe(d, l, "preStop", pick(d, sleep(10), sleep(45), own, object{"httpGet": object{"port": 80}}))
	maybe(d, l, "postStart", own)
	return l
}

func (d *dice) probe() object {
	p := d.strange(object{"periodSeconds": 10})
	get := d.strange(object{"path": "/", "port": pick[any](d, 8443, "https"), "host": pick(d, "", "<local>")})
	maybe(d, get, "scheme", pick(d, "HTTPS", "HTTP"))
	if d.roll(4) == 1 {
		p["exec"] = object{"command": []any{"true"}}
	} else {
		p["httpGet"] = get
	}
	return p
}

func (d *dice) agent() *intent.Agent {
	return &intent.Agent{
		Image: pick(d, "registry.example/agent:v1", "registry.example/mtls-agent"), ImagePullPolicy: "Always",
		MetricsPort: pick(d, int64(0), 9469), StartTimeout: pick(d, time.Minute, 90*time.Second),
		Requests: intent.Quantities{CPU: pick(d, "", "5m")}, Limits: intent.Quantities{Memory: "16Mi", EphemeralStorage: pick(d, "", "1Mi")},
		User: pick(d, int64(0), 65532), Group: pick(d, int64(0), 2000),
		Usages: some(d, cmapi.UsageServerAuth, cmapi.UsageClientAuth), DNSNames: some(d, "web", "${POD_NAME}.db.shop.svc.cluster.local"),
		Reload: pick(d, intent.AgentReload{}, intent.AgentReload{URL: "http://localhost:1/<&>"},
			intent.AgentReload{Signal: "SIGHUP", Container: "c0", Process: pick(d, "", "nginx")}),
	}
}

func generateIntent(d *dice) *intent.Intent {
	in := &intent.Intent{
		Role:           pick(d, intent.RoleServer, intent.RoleClient, intent.RoleBoth),
		Namespace:      "shop",
		ServiceAccount: "web",
		Workload:       intent.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
		Identity: intent.Identity{
			SPIFFEID:      "spiffe://cluster.local/ns/shop/sa/web",
			DNSNames:      some(d, "web", "web.shop.svc", "web.example"),
			PerPodDomains: some(d, "db.shop.svc.cluster.local"),
			Subject: intent.Subject{
				CommonName:          pick(d, "", "web.shop.svc.cluster.local"),
				Organizations:       some(d, "Shop & Co", "Example <é>"),
				OrganizationalUnits: some(d, "Web"),
			},
		},
		Issuer:        pick(d, intent.Issuer{Name: "mtls-ca", Kind: "ClusterIssuer", Group: "cert-manager.io"}, intent.Issuer{Name: "pki", Kind: "VaultIssuer", Group: "example.io"}),
		Key:           pick(d, intent.PrivateKey{Algorithm: cmapi.ECDSAKeyAlgorithm, Size: 256}, intent.PrivateKey{Algorithm: cmapi.RSAKeyAlgorithm, Size: 4096}, intent.PrivateKey{Algorithm: cmapi.Ed25519KeyAlgorithm}),
		Lifetime:      pick(d, intent.Lifetime{Duration: 2160 * time.Hour, RenewBefore: 720 * time.Hour}, intent.Lifetime{Duration: 90*time.Minute + time.Second, RenewBefore: 5 * time.Minute}),
		Delivery:      pick(d, intent.DeliveryCSI, intent.DeliverySecret),
		Companion:     d.yes(),
		CompanionName: "web-mtls",
		MountPath:     pick(d, "", "/certs", "/etc/tls/server"),
		CABundle:      pick(d, intent.Bundle{Kind: intent.BundleConfigMap, Name: "mtls-ca-bundle", Key: "ca.crt"}, intent.Bundle{Kind: intent.BundleClusterTrustBundle, Name: "example.io:x:mtls"}),
		Containers:    intent.Selection{Only: some(d, "c0", "i1", "absent"), Exclude: some(d, "c1", "i0")},
		Env:           some(d, intent.EnvMTLS, intent.EnvOpenSSL, intent.EnvPostgres, intent.EnvAWS),
		PreStop:       intent.PreStop{Seconds: pick(d, int64(0), 10, 45, 3600), Method: pick(d, intent.PreStopSleep, intent.PreStopExec)},
		Probes:        pick(d, intent.ProbesKeep, intent.ProbesTCP),
		Version:       "v1.0.0",
	}
	in.Usages = []cmapi.KeyUsage{cmapi.UsageDigitalSignature, cmapi.UsageServerAuth, cmapi.UsageClientAuth}
	if d.yes() {
		in.Agent = d.agent()
	}
	if group := int64(4294967295); d.yes() {
		in.FSGroup = &group
	}
	return in
}
