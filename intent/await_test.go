package intent_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/intent"
)

// driverVolume is a hand-written volume of the CSI driver; of its attributes the prefix is
// left out.
func driverVolume(attributes map[string]string) intent.Volume {
	csi := &corev1.CSIVolumeSource{Driver: intent.CSIDriver, ReadOnly: new(true), VolumeAttributes: map[string]string{}}
	for name, value := range attributes {
		csi.VolumeAttributes[intent.CSIDriver+"/"+name] = value
	}
	return intent.Volume{Name: "by-hand", CSI: csi}
}

func TestAwaitedServices(t *testing.T) {
	for name, c := range map[string]struct {
		pairs      []string
		attributes map[string]string
		want       []string
	}{
		"nothing asked for":        {nil, nil, nil},
		"there already":            {[]string{"service", "web", "dns-names", "web.shop,web"}, nil, nil},
		"selecting others":         {[]string{"service", "db", "dns-names", "db.shop.svc"}, nil, nil},
		"a Service":                {[]string{"service", "web,api"}, nil, []string{"api"}},
		"DNS names of Services":    {[]string{"dns-names", "a,b.shop,c.shop.svc,d.shop.svc.cluster.local"}, nil, []string{"a", "b", "c", "d"}},
		"named twice":              {[]string{"service", "api", "dns-names", "api.shop,api", "common-name", "api.shop.svc"}, nil, []string{"api"}},
		"the common name":          {[]string{"common-name", "api.shop.svc.cluster.local"}, nil, []string{"api"}},
		"a common name of words":   {[]string{"common-name", "The Shop"}, nil, nil},
		"another namespace's":      {[]string{"dns-names", "api.bank.svc,api.bank.svc.cluster.local,api.bank"}, nil, nil},
		"names of the world":       {[]string{"dns-names", "api.example.com,*.shop.svc"}, nil, nil},
		"a malformed list":         {[]string{"service", "api,,", "dns-names", "x.shop"}, nil, []string{"x"}},
		"by hand":                  {nil, map[string]string{"dns-names": "api.${POD_NAMESPACE}.svc, web", "common-name": "front.$POD_NAMESPACE"}, []string{"api", "front"}},
		"by hand, headless":        {nil, map[string]string{"dns-names": "${POD_NAME}.peers.shop.svc.cluster.local"}, []string{"peers"}},
		"by hand, another's":       {nil, map[string]string{"dns-names": "api.bank.svc"}, nil},
		"by hand, unknown to us":   {nil, map[string]string{"dns-names": "api.${NODE}", "ip-sans": "api"}, nil},
		"by hand, and annotations": {[]string{"service", "a"}, map[string]string{"dns-names": "b,a"}, []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			pod := newPod(append(c.pairs, "role", "server")...)
			pod.Spec.Volumes = []intent.Volume{{Name: "other"}, {Name: "more", CSI: &corev1.CSIVolumeSource{Driver: "other"}}, driverVolume(c.attributes)}
			services := []intent.Service{webService(), {Name: "db", Selector: map[string]string{"app": "db"}}}
			var got []string
			for _, s := range intent.AwaitedServices(intent.BuiltinDefaults(), newNamespace(), pod, services) {
				assert.True(t, s.Selects(pod.Metadata.Labels))
				got = append(got, s.Name)
			}
			assert.Equal(t, c.want, got)
		})
	}
}

// TestWithAwaitedServices: what only waits for Services is right with them, all else is as
// wrong as before.
func TestWithAwaitedServices(t *testing.T) {
	pod := newPod("role", "server", "service", "api", "dns-names", "peers.shop.svc,api.bank.svc", "common-name", "api.shop.svc.cluster.local")
	pod.Spec.Volumes = []intent.Volume{driverVolume(map[string]string{
		"issuer-name": "mtls-ca", "issuer-kind": "ClusterIssuer", "key-algorithm": "ECDSA",
		"dns-names": "${POD_NAME}.peers.shop.svc.cluster.local,db.shop.svc",
	})}
	d, services := intent.BuiltinDefaults(), []intent.Service{{Name: "db", Selector: map[string]string{"app": "db"}}}
	awaited := intent.AwaitedServices(d, newNamespace(), pod, services)
	var refused []string
	for _, err := range intent.Admit(d, newNamespace(), pod, append(services, awaited...)).Errors {
		problem, _, _ := strings.Cut(err.Detail, ":")
		refused = append(refused, err.Field+": "+problem)
	}
	assert.Equal(t, []string{
		`metadata.annotations[mtls.example.io/dns-names]: the pod may not claim "api.bank.svc"`,
		`spec.volumes[0].csi.volumeAttributes[csi.cert-manager.io/dns-names]: the pod may not claim "db.shop.svc"`,
	}, refused)
}

// TestManyAwaitedServices: volumes can hold a megabyte of names.
func TestManyAwaitedServices(t *testing.T) {
	names := make([]string, 1000)
	for i := range names {
		names[i] = "s" + strconv.Itoa(i)
	}
	pod := newPod("role", "server", "service", "web")
	pod.Spec.Volumes = []intent.Volume{driverVolume(map[string]string{"dns-names": strings.Join(names, ",")})}
	assert.Len(t, intent.AwaitedServices(intent.BuiltinDefaults(), newNamespace(), pod, nil), 101)
}

// TestNothingSelectsWithoutLabels: no Service will ever select a pod that has none.
func TestNothingSelectsWithoutLabels(t *testing.T) {
	pod := newPod("role", "server", "service", "api")
	pod.Metadata.Labels = nil
	for _, s := range intent.AwaitedServices(intent.BuiltinDefaults(), newNamespace(), pod, nil) {
		assert.False(t, s.Selects(nil))
	}
}
