package intent_test

// Values that are right, for every key of the annotation table: what the Intent says
// then. The tests of parsing and of precedence both run over them.

import (
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/labels"

	"example.io/mtls-injector/intent"
)

// permissive are defaults under which every key can be set to something else.
func permissive() *intent.Defaults {
	d := intent.BuiltinDefaults()
	for _, kind := range []string{"ClusterIssuer", "Issuer", "AWSPCAIssuer"} {
		for _, group := range []string{intent.DefaultIssuerGroup, "awspca.cert-manager.io"} {
			rule := intent.IssuerRule{Namespaces: labels.Everything(), Name: "*", Kind: kind, Group: group}
			d.AllowedIssuers = append(d.AllowedIssuers, rule)
		}
	}
	d.AllowedNames = []intent.NameRule{{
		Namespaces:  labels.Everything(),
		DNSNames:    []string{"*.example.com", "example.org"},
		CommonNames: []string{"Shop Web"}, Organizations: []string{"Retail", "Ümläut & Söhne"}, OrganizationalUnits: []string{"Web", "a", "b"},
	}}
	return d
}

// example is a value of an annotation and what the Intent says with it.
type example struct {
	value string
	want  any
}

// right holds the examples of one key. of takes from the Intent what the key decides,
// unset is what that is when nobody sets the key.
type right struct {
	of       func(*intent.Intent) any
	unset    any
	examples []example
}

var (
	webNames   = []string{"web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local"}
	adminNames = []string{"admin", "admin.shop", "admin.shop.svc", "admin.shop.svc.cluster.local"}
)

// names returns the names of the Services admin and web, and more.
func names(more ...string) []string {
	return append(append(append([]string{}, adminNames...), webNames...), more...)
}

// twoServices both select the pods of newPod.
func twoServices() []intent.Service {
	return []intent.Service{webService(), {Name: "admin", Selector: map[string]string{"app": "web"}}}
}

// rightValues are for a server behind [twoServices], under [permissive] defaults.
func rightValues() map[string]right {
	day := 24 * time.Hour
	sidecars := intent.BuiltinDefaults().ExcludeContainers
	return map[string]right{
		"role": {func(in *intent.Intent) any { return in.Role }, intent.RoleServer, []example{
			{"server", intent.RoleServer}, {"client", intent.RoleClient}, {"both", intent.RoleBoth},
		}},
		"delivery": {func(in *intent.Intent) any { return in.Delivery }, intent.DeliveryCSI, []example{
			{"secret", intent.DeliverySecret}, {"csi", intent.DeliveryCSI},
		}},
		"service": {func(in *intent.Intent) any { return in.Identity.DNSNames }, names(), []example{
			{"web", webNames}, {"admin", adminNames}, {" admin , web,admin", names()},
			{"web,admin", append(webNames[:4:4], adminNames...)},
		}},
		"dns-names": {func(in *intent.Intent) any { return in.Identity.DNSNames }, names(), []example{
			{"web.example.com", names("web.example.com")},
			{"example.org,web.shop,*.example.com", names("example.org", "*.example.com")},
		}},
		"common-name": {func(in *intent.Intent) any { return in.Identity.Subject.CommonName }, "admin.shop.svc.cluster.local", []example{
			{"web.shop", "web.shop"}, {"Shop Web", "Shop Web"},
		}},
		"organizations": {func(in *intent.Intent) any { return in.Identity.Subject.Organizations }, []string(nil), []example{
			{"Retail", []string{"Retail"}}, {"Ümläut & Söhne, Retail", []string{"Ümläut & Söhne", "Retail"}},
		}},
		"organizational-units": {func(in *intent.Intent) any { return in.Identity.Subject.OrganizationalUnits }, []string(nil), []example{
			{"Web", []string{"Web"}}, {"b,a,b", []string{"b", "a"}},
		}},
		"issuer": {func(in *intent.Intent) any { return in.Issuer.Name }, "mtls-ca", []example{
			{"other", "other"}, {"team.ca-2", "team.ca-2"},
		}},
		"issuer-kind": {func(in *intent.Intent) any { return in.Issuer.Kind }, "ClusterIssuer", []example{
			{"Issuer", "Issuer"}, {"AWSPCAIssuer", "AWSPCAIssuer"},
		}},
		"issuer-group": {func(in *intent.Intent) any { return in.Issuer.Group }, "cert-manager.io", []example{
			{"awspca.cert-manager.io", "awspca.cert-manager.io"}, {"cert-manager.io", "cert-manager.io"},
		}},
		"duration": {func(in *intent.Intent) any { return in.Lifetime }, intent.Lifetime{Duration: 90 * day, RenewBefore: 30 * day}, []example{
			{"48h", intent.Lifetime{Duration: 2 * day, RenewBefore: 16 * time.Hour}},
			{"90m", intent.Lifetime{Duration: 90 * time.Minute, RenewBefore: 30 * time.Minute}},
			{"3700s", intent.Lifetime{Duration: 3700 * time.Second, RenewBefore: 1233 * time.Second}},
		}},
		"renew-before": {func(in *intent.Intent) any { return in.Lifetime }, intent.Lifetime{Duration: 90 * day, RenewBefore: 30 * day}, []example{
			{"5m", intent.Lifetime{Duration: 90 * day, RenewBefore: 5 * time.Minute}},
			{"2159h59m59s", intent.Lifetime{Duration: 90 * day, RenewBefore: 90*day - time.Second}},
		}},
		"key-algorithm": {func(in *intent.Intent) any { return in.Key }, intent.PrivateKey{Algorithm: cmapi.ECDSAKeyAlgorithm, Size: 256}, []example{
			{"RSA", intent.PrivateKey{Algorithm: cmapi.RSAKeyAlgorithm, Size: 2048}},
			{"ed25519", intent.PrivateKey{Algorithm: cmapi.Ed25519KeyAlgorithm}},
			{"ecdsa", intent.PrivateKey{Algorithm: cmapi.ECDSAKeyAlgorithm, Size: 256}},
		}},
		"key-size": {func(in *intent.Intent) any { return in.Key.Size }, 256, []example{
			{"384", 384}, {"521", 521}, {"256", 256},
		}},
		"containers": {func(in *intent.Intent) any { return in.Containers.Only }, []string(nil), []example{
			{"app", []string{"app"}}, {"migrate, istio-proxy", []string{"migrate", "istio-proxy"}},
		}},
		"exclude-containers": {func(in *intent.Intent) any { return in.Containers.Exclude }, sidecars, []example{
			{"migrate", append(append([]string{}, sidecars...), "migrate")},
			{"app,log-shipper", append(append([]string{}, sidecars...), "app", "log-shipper")},
		}},
		"mount-path": {func(in *intent.Intent) any { return in.MountPath }, "", []example{
			{"/certs", "/certs"}, {"/etc/tls/server", "/etc/tls/server"}, {"/var/lib/my app/tls..d", "/var/lib/my app/tls..d"},
		}},
		"ca-bundle": {func(in *intent.Intent) any { return in.CABundle }, intent.Bundle{Kind: "ConfigMap", Name: "mtls-ca-bundle", Key: "ca.crt"}, []example{
			{"trust", intent.Bundle{Kind: "ConfigMap", Name: "trust", Key: "ca.crt"}},
			{"ConfigMap/trust.v2", intent.Bundle{Kind: "ConfigMap", Name: "trust.v2", Key: "ca.crt"}},
			{"ClusterTrustBundle/example.com:mtls:live", intent.Bundle{Kind: "ClusterTrustBundle", Name: "example.com:mtls:live", Key: "ca.crt"}},
		}},
		"env": {func(in *intent.Intent) any { return in.Env }, []intent.EnvProfile{"mtls"}, []example{
			{"mtls,curl", []intent.EnvProfile{"mtls", "curl"}},
			{"none", []intent.EnvProfile(nil)},
			{"openssl,python,node,grpc,postgres,aws", []intent.EnvProfile{"openssl", "python", "node", "grpc", "postgres", "aws"}},
		}},
		"pre-stop-seconds": {func(in *intent.Intent) any { return in.PreStop }, intent.PreStop{Seconds: 10, Method: "sleep"}, []example{
			{"0", intent.PreStop{Method: "sleep"}}, {"3600", intent.PreStop{Seconds: 3600, Method: "sleep"}},
		}},
		"fs-group": {func(in *intent.Intent) any { return in.FSGroup }, (*int64)(nil), []example{
			{"1", new(int64(1))}, {"4294967295", new(int64(4294967295))},
		}},
		"reload": {func(in *intent.Intent) any { return in.Reload }, intent.ReloadNone, []example{
			{"restart", intent.ReloadRestart}, {"none", intent.ReloadNone},
		}},
		// What these decide together is in agent_test.go.
		"reload-process":   {nothing, nil, []example{{"nginx", nil}, {"java-main.1:x@y", nil}}},
		"reload-url":       {nothing, nil, []example{{"http://localhost:9901/reload", nil}, {"http://localhost:1", nil}, {"http://localhost:65535/-/reload?now=1", nil}}},
		"reload-signal":    {nothing, nil, []example{{"SIGHUP", nil}, {"SIGUSR1", nil}, {"SIGWINCH", nil}}},
		"reload-container": {nothing, nil, []example{{"app", nil}, {"nginx-1", nil}}},
		"agent":            {func(in *intent.Intent) any { return in.Agent != nil }, false, []example{{"true", true}, {"false", false}}},
		"probes": {func(in *intent.Intent) any { return in.Probes }, intent.ProbesKeep, []example{
			{"tcp", intent.ProbesTCP}, {"keep", intent.ProbesKeep},
		}},
		"companion": {func(in *intent.Intent) any { return in.Companion }, true, []example{
			{"false", false}, {"true", true},
		}},
	}
}

func nothing(*intent.Intent) any { return nil }

// decides reports whether the key shows in the Intent.
func (r *right) decides() bool { return r.unset != nil }
