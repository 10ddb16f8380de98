package e2e

// What users see of companions, and what follows from renewals and Services.

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/intent"
)

// restarting has a namespace in which every workload is restarted for a renewal.
func restarting(t *testing.T) *companions {
	t.Helper()
	c := &companions{T: t, Cluster: shared}
	c.webhook = runWebhook(t, shared, cluster.WebhookOptions{Config: companionsFolder + "/restarting.yaml"})
	c.namespace = clustertest.Namespace(t, shared, map[string]string{intent.Prefix + "reload": "restart"})
	c.apply("issuer.yaml")
	return c
}

// told waits for an Event on an object and returns its note.
func (c *companions) told(kind, name, reason string) string {
	c.Helper()
	var note string
	require.NoError(c, c.WaitFor(c.Context(), fmt.Sprintf("Event %s on %s %s", reason, kind, name), func(ctx context.Context) error {
		notes, err := c.notes(ctx, kind, name, reason)
		if err != nil || len(notes) == 0 {
			return fmt.Errorf("no such Event: %w", err)
		}
		note = notes[0]
		return nil
	}))
	return note
}

func (c *companions) notes(ctx context.Context, kind, name, reason string) ([]string, error) {
	var list eventsv1.EventList
	if err := c.Client.List(ctx, &list, client.InNamespace(c.namespace)); err != nil {
		return nil, err
	}
	var notes []string
	for _, e := range list.Items {
		if e.Regarding.Kind == kind && e.Regarding.Name == name && e.Reason == reason {
			notes = append(notes, e.Note)
		}
	}
	return notes, nil
}

// renew does what `cmctl renew` does, and waits for the next revision.
func (c *companions) renew(name string) {
	c.Helper()
	cert, err := c.WaitForCertificate(c.Context(), c.namespace, name)
	require.NoError(c, err)
	// cert-manager says Ready and counts the revision one after the other.
	c.until("a revision", name, func(cert *cmapi.Certificate) bool { return cert.Status.Revision != nil && !isIssuing(cert) })
	c.read(name, cert)
	before := *cert.Status.Revision
	require.NoError(c, c.WaitFor(c.Context(), "the request to renew", func(ctx context.Context) error {
		c.read(name, cert)
		apiutil.SetCertificateCondition(cert, cert.Generation, cmapi.CertificateConditionIssuing, cmmeta.ConditionTrue, "ManuallyTriggered", "by the test")
		return c.Client.Status().Update(ctx, cert)
	}))
	c.until("another revision", name, func(cert *cmapi.Certificate) bool { return *cert.Status.Revision > before })
}

func isIssuing(cert *cmapi.Certificate) bool {
	return apiutil.CertificateHasCondition(cert, cmapi.CertificateCondition{Type: cmapi.CertificateConditionIssuing, Status: cmmeta.ConditionTrue})
}

// hash returns what a workload's pod template says of the certificate.
func hash(template *corev1.PodTemplateSpec) string {
	return template.Annotations[intent.AnnotationCertificateHash]
}

// TestRenewalRestarts what can be restarted, once, and tells of what cannot.
func TestRenewalRestarts(t *testing.T) {
	c := restarting(t)
	c.apply("workloads.yaml")
	restarted := map[string]func() string{
		"web-mtls": func() string { var o appsv1.Deployment; c.read("web", &o); return hash(&o.Spec.Template) },
		"db-mtls-statefulset": func() string {
			var o appsv1.StatefulSet
			c.read("db", &o)
			return hash(&o.Spec.Template)
		},
		"node-mtls-daemonset": func() string { var o appsv1.DaemonSet; c.read("node", &o); return hash(&o.Spec.Template) },
	}
	for name, of := range restarted {
		_, err := c.WaitForCertificate(t.Context(), c.namespace, name)
		require.NoError(t, err)
		assert.Empty(t, of(), "%s: the first certificate is no reason to restart", name)
	}
	for name := range restarted {
		c.renew(name)
	}
	c.renew("once-mtls-job")
	c.renew("alone-mtls-pod")
	for name, of := range restarted {
		require.NoError(t, c.WaitFor(t.Context(), name+"'s workload to be restarted", func(context.Context) error {
			if of() == "" {
				return fmt.Errorf("no annotation")
			}
			return nil
		}))
	}
	assert.Contains(t, c.told("Deployment", "web", "Renewed"), "Certificate web-mtls was renewed by Issuer/companions: revision 2")
	assert.Equal(t, "Restarting the pods for revision 2 of Certificate web-mtls", c.told("Deployment", "web", "Restarted"))
	assert.Contains(t, c.told("Pod", "alone", "RestartNeeded"), "Pod cannot be restarted by mtls-injector")
	c.told("Job", "once", "Renewed")
	var job batchv1.Job
	c.read("once", &job)
	assert.Empty(t, hash(&job.Spec.Template))

	// Once a renewal: more looks, by this process and by another, change nothing.
	first := restarted["web-mtls"]()
	c.restartWebhookWith("restarting.yaml")
	c.outcome("unchanged", 5)
	var web appsv1.Deployment
	c.read("web", &web)
	assert.Equal(t, first, hash(&web.Spec.Template))
	assert.Equal(t, int64(2), web.Generation)
	for _, entry := range web.ManagedFields {
		if entry.Manager == "mtls-injector" {
			assert.JSONEq(t, `{"f:spec":{"f:template":{"f:metadata":{"f:annotations":{"f:mtls.example.io/certificate-hash":{}}}}}}`, entry.FieldsV1.GetRawString())
		}
	}
	c.renew("web-mtls")
	require.NoError(t, c.WaitFor(t.Context(), "another restart", func(context.Context) error {
		if restarted["web-mtls"]() == first {
			return fmt.Errorf("still %s", first)
		}
		return nil
	}))
}

func (c *companions) restartWebhookWith(config string) {
	c.Helper()
	require.NoError(c, c.webhook.Stop())
	c.webhook = runWebhook(c.T, c.Cluster, cluster.WebhookOptions{Config: companionsFolder + "/" + config})
}

// TestNamesFollowServices: a Service that comes later gives its names to the companion, and
// the pods that lack them are told of; with reload: restart they are made anew.
func TestNamesFollowServices(t *testing.T) {
	t.Run("told of", func(t *testing.T) { newCompanions(t).testLateService(false) })
	t.Run("restarted", func(t *testing.T) { restarting(t).testLateService(true) })
}

func (c *companions) testLateService(restarts bool) {
	c.Helper()
	c.apply("steady.yaml")
	c.issued()
	pods, err := c.WaitForPods(c.Context(), c.namespace, map[string]string{"app": "web"}, 1)
	require.NoError(c, err)
	late := "late." + c.namespace + ".svc.cluster.local"
	has := func(cert *cmapi.Certificate) bool {
		return strings.Contains(strings.Join(cert.Spec.DNSNames, " "), late)
	}
	c.apply("late-service.yaml")
	c.until("the Service's names", "web-mtls", has)
	assert.Contains(c, c.told("Pod", pods[0].Name, "IdentityStale"), "The pod's certificate lacks names that its Services give it now: late, ")
	assert.Contains(c, c.told("Deployment", "web", "IdentityStale"), "The certificates of 1 of 1 pods lack names")
	if restarts {
		c.told("Deployment", "web", "Restarted")
		require.NoError(c, c.WaitFor(c.Context(), "a pod with the names", func(ctx context.Context) error {
			var list corev1.PodList
			if err := c.Client.List(ctx, &list, client.InNamespace(c.namespace), client.MatchingLabels{"app": "web"}); err != nil {
				return err
			}
			for _, pod := range list.Items {
				for _, v := range pod.Spec.Volumes {
					if v.CSI != nil && strings.Contains(v.CSI.VolumeAttributes["csi.cert-manager.io/dns-names"], late) {
						return nil
					}
				}
			}
			return fmt.Errorf("none of %d", len(list.Items))
		}))
	} else {
		var web appsv1.Deployment
		c.read("web", &web)
		assert.Empty(c, hash(&web.Spec.Template))
	}
	var svc corev1.Service
	c.read("late", &svc)
	require.NoError(c, c.Client.Delete(c.Context(), &svc))
	c.until("the names to go", "web-mtls", func(cert *cmapi.Certificate) bool { return !has(cert) })
}

// TestIssuerThatIsMissing is told of in cert-manager's own words, without haste, and the
// companion is issued when the issuer comes.
func TestIssuerThatIsMissing(t *testing.T) {
	c := &companions{T: t, Cluster: shared}
	c.startWebhook()
	c.namespace = clustertest.Namespace(t, shared, nil)
	c.apply("steady.yaml")
	note := c.told("Deployment", "web", "IssuerNotReady")
	assert.Contains(t, note, "Certificate web-mtls is not signed by Issuer/companions: Pending: ")
	assert.Contains(t, note, `"companions" not found`)
	assert.GreaterOrEqual(t, c.gauges("mtls_injector_companions")["pending"], 2)
	// It takes half a minute to be told, in which others come and go on the same cluster. Haste
	// would be thousands.
	assert.Less(t, c.looks(), 300, "looks at two companions that wait")
	c.apply("issuer.yaml")
	c.issued()
	c.told("Deployment", "web", "Issued")
}

// TestSecretOfAnother has the companion's name: cert-manager would overwrite it.
func TestSecretOfAnother(t *testing.T) {
	c := newCompanions(t)
	c.apply("taken-secret.yaml")
	var before, after corev1.Secret
	c.read("web-mtls", &before)
	c.apply("steady.yaml")
	assert.Equal(t, "Secret web-mtls was not made by mtls-injector for this workload and is left as it is: there is no companion Certificate",
		c.told("Deployment", "web", "NameTaken"))
	assert.GreaterOrEqual(t, c.counts("mtls_injector_companion_reconciles_total")["name-taken"], 1)
	assert.Equal(t, 1, c.gauges("mtls_injector_companions")["name-taken"])
	err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: c.namespace, Name: "web-mtls"}, &cmapi.Certificate{})
	assert.True(t, apierrors.IsNotFound(err), "%v", err)
	c.read("web-mtls", &after)
	assert.Equal(t, before.ResourceVersion, after.ResourceVersion)
}

// TestCompanionMetrics: the end of each companion's lifetime, and how long it took.
func TestCompanionMetrics(t *testing.T) {
	c := newCompanions(t)
	c.apply("steady.yaml")
	cert := c.issued()
	c.told("Deployment", "web", "Issued")
	require.NoError(t, c.WaitFor(t.Context(), "two companions in the metrics", func(context.Context) error {
		if n := c.gauges("mtls_injector_companions")["ready"]; n < 2 {
			return fmt.Errorf("%d are ready", n)
		}
		return nil
	}))
	families := c.families()
	found := false
	for _, m := range families["mtls_injector_companion_not_after_timestamp_seconds"].GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["namespace"] == c.namespace && labels["name"] == "web-mtls" {
			found = true
			assert.Equal(t, map[string]string{
				"namespace": c.namespace, "name": "web-mtls", "role": "server", "workload_kind": "Deployment", "workload": "web",
			}, labels)
			assert.InDelta(t, cert.Status.NotAfter.Unix(), m.GetGauge().GetValue(), 0)
		}
	}
	assert.True(t, found)
	assert.Positive(t, families["mtls_injector_companion_ready_seconds"].GetMetric()[0].GetHistogram().GetSampleCount())
}

func (c *companions) families() map[string]*dto.MetricFamily {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.webhook.MetricsURL+"/metrics", nil)
	require.NoError(c, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(c, err)
	defer func() { require.NoError(c, response.Body.Close()) }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	require.NoError(c, err)
	return families
}

// gauges returns a metric's values by its only label.
func (c *companions) gauges(metric string) map[string]int {
	c.Helper()
	values := map[string]int{}
	for _, m := range c.families()[metric].GetMetric() {
		values[m.GetLabel()[0].GetValue()] = int(m.GetGauge().GetValue())
	}
	return values
}
