package intent_test

import (
	"strconv"
	"testing"

	"example.io/mtls-injector/intent"
)

// fiveHundredServices are what a large namespace has; the one in the middle selects.
func fiveHundredServices() []intent.Service {
	services := make([]intent.Service, 500)
	for i := range services {
		name := "service-" + strconv.Itoa(i)
		services[i] = intent.Service{Name: name, Selector: map[string]string{"app": name, "tier": "back"}}
	}
	services[250] = webService()
	return services
}

// BenchmarkResolve measures the decision alone: nearly every pod of a cluster passes
// through, and opted-in ones must not wait for the size of their namespace.
func BenchmarkResolve(b *testing.B) {
	plain := newPod()
	plain.Metadata.Annotations = map[string]string{"prometheus.io/scrape": "true", "kubectl.kubernetes.io/default-container": "app"}
	tuned := newPod("role", "both", "dns-names", "web.shop", "duration", "48h", "env", "mtls,curl",
		"containers", "app", "pre-stop-seconds", "5", "key-algorithm", "RSA", "organizations", "Retail,Web")
	one := []intent.Service{webService()}

	for name, c := range map[string]struct {
		pod      *intent.Pod
		services []intent.Service
	}{
		"pass-through":        {plain, one},
		"server-1-service":    {newPod("role", "server"), one},
		"server-500-services": {newPod("role", "server"), fiveHundredServices()},
		"both-9-annotations":  {tuned, one},
		"refused-unknown-key": {newPod("role", "server", "isuer", "x"), one},
	} {
		b.Run(name, func(b *testing.B) {
			defaults, namespace := intent.BuiltinDefaults(), newNamespace()
			b.ReportAllocs()
			for b.Loop() {
				intent.Resolve(defaults, namespace, c.pod, c.services)
			}
		})
	}
}
