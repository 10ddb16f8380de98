package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/certs"
	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/intent"
)

const companionsFolder = "testdata/companions"

// companions is what the tests of companion Certificates share.
type companions struct {
	*testing.T
	*cluster.Cluster
	webhook *cluster.Webhook
	// namespace has a self-signed issuer, which the configuration makes the default.
	namespace string
}

func newCompanions(t *testing.T) *companions {
	t.Helper()
	c := &companions{
		T: t, Cluster: shared,
		webhook:   runWebhook(t, shared, cluster.WebhookOptions{Config: companionsFolder + "/injector.yaml"}),
		namespace: clustertest.Namespace(t, shared, nil),
	}
	c.apply("issuer.yaml")
	return c
}

// apply applies a file of the companions' folder in the test's namespace.
func (c *companions) apply(file string) {
	c.Helper()
	clustertest.Apply(c.T, c.Cluster, filepath.Join(companionsFolder, file), c.namespace)
}

func (c *companions) read(name string, into client.Object) {
	c.Helper()
	require.NoError(c, c.Client.Get(c.Context(), client.ObjectKey{Namespace: c.namespace, Name: name}, into))
}

// until waits for the named Certificate to be as check wants it.
func (c *companions) until(what, name string, check func(*cmapi.Certificate) bool) {
	c.Helper()
	require.NoError(c, c.WaitFor(c.Context(), what, func(ctx context.Context) error {
		var cert cmapi.Certificate
		if err := c.Client.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, &cert); err != nil {
			return err
		}
		if !check(&cert) {
			return fmt.Errorf("it is %v, of %v, owned by %v", cert.Spec, cert.Labels, cert.OwnerReferences)
		}
		return nil
	}))
}

// counts returns a metric's values by its only label.
func (c *companions) counts(metric string) map[string]int {
	c.Helper()
	families := c.families()
	require.Contains(c, families, metric)
	values := map[string]int{}
	for _, m := range families[metric].GetMetric() {
		values[m.GetLabel()[0].GetValue()] = int(m.GetCounter().GetValue())
	}
	return values
}

// TestCompanionOfEveryKind: each workload gets its companion, which is signed, carries
// the workload's names, and belongs to the workload itself.
func TestCompanionOfEveryKind(t *testing.T) {
	c := newCompanions(t)
	c.apply("workloads.yaml")
	for name, tc := range map[string]struct {
		owner     client.Object
		ownerName string
		kind      string
		names     []string
	}{
		"web-mtls":            {&appsv1.Deployment{}, "web", "Deployment", []string{"web"}},
		"db-mtls-statefulset": {&appsv1.StatefulSet{}, "db", "StatefulSet", []string{"db", "*"}},
		"node-mtls-daemonset": {&appsv1.DaemonSet{}, "node", "DaemonSet", []string{"node"}},
		"once-mtls-job":       {&batchv1.Job{}, "once", "Job", nil},
		"tidy-mtls-cronjob":   {&batchv1.CronJob{}, "tidy", "CronJob", nil},
		"alone-mtls-pod":      {&corev1.Pod{}, "alone", "Pod", nil},
	} {
		t.Run(tc.kind, func(t *testing.T) {
			// A CronJob's first Job comes with the next full minute.
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			cert, err := c.WaitForCertificate(ctx, c.namespace, name)
			require.NoError(t, err)
			c.read(tc.ownerName, tc.owner)
			require.Len(t, cert.OwnerReferences, 1)
			owner := cert.OwnerReferences[0]
			assert.Equal(t, tc.kind, owner.Kind)
			assert.Equal(t, tc.ownerName, owner.Name)
			assert.Equal(t, tc.owner.GetUID(), owner.UID)
			assert.True(t, *owner.Controller)
			assert.False(t, *owner.BlockOwnerDeletion)
			c.checkCertificate(t, cert, tc.names)
		})
	}
	assert.Zero(t, c.counts("mtls_injector_companion_applies_total")["failed"])
}

// checkCertificate compares what was signed with what was wanted. The first names stand
// for the Services' full names, "*" for the pods' of the headless one.
func (c *companions) checkCertificate(t *testing.T, cert *cmapi.Certificate, names []string) {
	t.Helper()
	var secret corev1.Secret
	c.read(cert.Spec.SecretName, &secret)
	for _, key := range []string{certs.LabelCertType, certs.LabelManagedBy, certs.LabelRole, certs.LabelWorkload, certs.LabelWorkloadKind} {
		assert.NotEmpty(t, cert.Labels[key], key)
		assert.Equal(t, cert.Labels[key], secret.Labels[key], key)
	}
	leaf, err := pki.DecodeX509CertificateBytes(secret.Data[corev1.TLSCertKey])
	require.NoError(t, err)
	require.Len(t, leaf.URIs, 1)
	assert.Equal(t, "spiffe://cluster.local/ns/"+c.namespace+"/sa/default", leaf.URIs[0].String())
	var want []string
	for _, name := range names {
		domain := c.namespace + ".svc"
		if name == "*" {
			want = append(want, "*."+names[0]+"."+domain+".cluster.local")
			continue
		}
		want = append(want, name, name+"."+c.namespace, name+"."+domain, name+"."+domain+".cluster.local")
	}
	assert.Equal(t, want, leaf.DNSNames)
	assert.Contains(t, string(secret.Data[corev1.TLSPrivateKeyKey]), "BEGIN PRIVATE KEY", "PKCS #8")
}

// TestCompanionIsWrittenOnce: another look at everything, by a controller that starts
// anew, writes nothing.
func TestCompanionIsWrittenOnce(t *testing.T) {
	c := newCompanions(t)
	c.apply("steady.yaml")
	written := map[string][]metav1.ManagedFieldsEntry{}
	for _, name := range []string{"web-mtls", "db-mtls-statefulset"} {
		cert, err := c.WaitForCertificate(t.Context(), c.namespace, name)
		require.NoError(t, err)
		written[name] = ourFields(cert)
		require.Len(t, written[name], 1)
	}
	require.NoError(t, c.webhook.Stop())
	c.webhook = runWebhook(t, shared, cluster.WebhookOptions{Config: companionsFolder + "/injector.yaml"})
	require.NoError(t, c.WaitFor(t.Context(), "both companions to be looked at", func(context.Context) error {
		if seen := c.counts("mtls_injector_companion_reconciles_total"); seen["unchanged"] < len(written) {
			return fmt.Errorf("reconciles: %v", seen)
		}
		return nil
	}))
	assert.Equal(t, map[string]int{"created": 0, "updated": 0, "removed": 0, "failed": 0}, c.counts("mtls_injector_companion_applies_total"))
	for name, fields := range written {
		var cert cmapi.Certificate
		c.read(name, &cert)
		assert.Equal(t, int64(1), cert.Generation, name)
		assert.Equal(t, fields, ourFields(&cert), "%s: what was applied, and when", name)
	}
}

// ourFields are the managed fields that the controller applied.
func ourFields(cert *cmapi.Certificate) []metav1.ManagedFieldsEntry {
	return slices.DeleteFunc(slices.Clone(cert.ManagedFields), func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager != certs.FieldManager
	})
}

// TestCompanionIsBroughtBack after somebody changed, and deleted, it.
func TestCompanionIsBroughtBack(t *testing.T) {
	c := newCompanions(t)
	c.apply("steady.yaml")
	cert, err := c.WaitForCertificate(t.Context(), c.namespace, "web-mtls")
	require.NoError(t, err)
	names := cert.Spec.DNSNames
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"dnsNames":["evil.example.com"],"commonName":null}}`))
	require.NoError(t, c.Client.Patch(t.Context(), cert, patch))
	c.until("its names back", "web-mtls", func(cert *cmapi.Certificate) bool {
		return assert.ObjectsAreEqual(names, cert.Spec.DNSNames) && cert.Spec.CommonName != ""
	})
	require.NoError(t, c.Client.Delete(t.Context(), cert))
	c.until("it again", "web-mtls", func(now *cmapi.Certificate) bool { return now.UID != cert.UID })
	_, err = c.WaitForCertificate(t.Context(), c.namespace, "web-mtls")
	require.NoError(t, err)
}

// TestCompanionGoesWithItsWorkload and does not come back while the pods end.
func TestCompanionGoesWithItsWorkload(t *testing.T) {
	c := newCompanions(t)
	c.apply("steady.yaml")
	for name, workload := range map[string]client.Object{"web-mtls": &appsv1.Deployment{}, "db-mtls-statefulset": &appsv1.StatefulSet{}} {
		cert, err := c.WaitForCertificate(t.Context(), c.namespace, name)
		require.NoError(t, err)
		c.read(cert.OwnerReferences[0].Name, workload)
		require.NoError(t, c.Client.Delete(t.Context(), workload, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	}
	require.NoError(t, c.WaitFor(t.Context(), "pods and companions to go", func(ctx context.Context) error {
		var pods corev1.PodList
		var left cmapi.CertificateList
		err := errors.Join(c.Client.List(ctx, &pods, client.InNamespace(c.namespace)), c.Client.List(ctx, &left, client.InNamespace(c.namespace)))
		if err != nil || len(pods.Items)+len(left.Items) > 0 {
			return errors.Join(err, fmt.Errorf("%d pods and %d companions are left", len(pods.Items), len(left.Items)))
		}
		return nil
	}))
}

// TestCompanionFollowsTheNewestPod: during a rollout the pods of two templates live side
// by side, and the newer one decides, however often the older one is looked at.
func TestCompanionFollowsTheNewestPod(t *testing.T) {
	c := newCompanions(t)
	c.apply("steady.yaml")
	_, err := c.WaitForCertificate(t.Context(), c.namespace, "web-mtls")
	require.NoError(t, err)
	roll := func(role string) {
		patch := client.RawPatch("application/merge-patch+json",
			fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"mtls.example.io/role":%q}}}}}`, role))
		deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "web"}}
		require.NoError(t, c.Client.Patch(t.Context(), deployment, patch))
	}
	decided := func(role string) {
		c.until("role "+role, "web-mtls", func(cert *cmapi.Certificate) bool { return cert.Labels[certs.LabelRole] == role })
	}
	// Creation times have whole seconds; the rollout must not fall into the pod's own.
	first, err := c.WaitForPods(t.Context(), c.namespace, map[string]string{"app": "web"}, 1)
	require.NoError(t, err)
	c.awaitNextSecond(&first[0])
	c.makeReady(&first[0])
	roll("both")
	decided("both")
	// The new pod is not made ready, so the old one stays.
	pods, err := c.WaitForPods(t.Context(), c.namespace, map[string]string{"app": "web"}, 2)
	require.NoError(t, err)
	for _, pod := range pods {
		if pod.Annotations[intent.Prefix+"role"] == "server" {
			patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"looked-at":"again"}}}`))
			require.NoError(t, c.Client.Patch(t.Context(), &pod, patch))
		}
	}
	decided("both")

	roll("server") // back: the new ReplicaSet's pod goes, the old one's decides
	decided("server")
	_, err = c.WaitForCertificate(t.Context(), c.namespace, "web-mtls")
	require.NoError(t, err)
}

// awaitNextSecond lets the second of a pod's creation go by, so that the next pod is newer.
func (c *companions) awaitNextSecond(pod *corev1.Pod) {
	c.Helper()
	require.NoError(c, c.WaitFor(c.Context(), "the next second", func(context.Context) error {
		if !time.Now().After(pod.CreationTimestamp.Add(time.Second)) {
			return errors.New("not yet")
		}
		return nil
	}))
}

// makeReady does to a pod's status what a kubelet would.
func (c *companions) makeReady(pod *corev1.Pod) {
	c.Helper()
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}`))
	require.NoError(c, c.Client.Status().Patch(c.Context(), pod, patch))
}

// TestCompanionLeavesForeignCertificates: a Certificate that somebody made stays as it
// is, its workload is told, and once it is gone the companion comes.
func TestCompanionLeavesForeignCertificates(t *testing.T) {
	c := newCompanions(t)
	c.apply("foreign.yaml")
	before, err := c.WaitForCertificate(t.Context(), c.namespace, "web-mtls")
	require.NoError(t, err)
	c.apply("steady.yaml")

	var deployment appsv1.Deployment
	c.read("web", &deployment)
	var event eventsv1.Event
	require.NoError(t, c.WaitFor(t.Context(), "an Event on the Deployment", func(ctx context.Context) error {
		var list eventsv1.EventList
		if err := c.Client.List(ctx, &list, client.InNamespace(c.namespace)); err != nil {
			return err
		}
		for _, event = range list.Items {
			if event.Regarding.UID == deployment.UID && event.Reason == "NameTaken" {
				return nil
			}
		}
		return fmt.Errorf("not among %d", len(list.Items))
	}))
	assert.Equal(t, corev1.EventTypeWarning, event.Type)
	assert.Equal(t, "Deployment", event.Regarding.Kind)
	assert.Equal(t, "Certificate web-mtls was not made by mtls-injector for this workload and is left as it is: there is no companion Certificate", event.Note)
	assert.GreaterOrEqual(t, c.counts("mtls_injector_companion_reconciles_total")["name-taken"], 1)
	var after cmapi.Certificate
	c.read("web-mtls", &after)
	assert.Empty(t, ourFields(&after))
	assert.Equal(t, before.Generation, after.Generation)
	assert.Equal(t, before.Labels, after.Labels)
	assert.Empty(t, after.OwnerReferences)

	require.NoError(t, c.Client.Delete(t.Context(), &after))
	// The pod's next event brings the controller back before its own next try.
	pods, err := c.WaitForPods(t.Context(), c.namespace, map[string]string{"app": "web"}, 1)
	require.NoError(t, err)
	require.NoError(t, c.Client.Delete(t.Context(), &pods[0]))
	c.until("the companion", "web-mtls", func(cert *cmapi.Certificate) bool { return cert.Labels[certs.LabelManagedBy] == certs.ManagedBy })
}

// TestCompanionIsNotDecidedByImpostors: a pod that names another workload's ReplicaSet
// as its owner, without being the ReplicaSet's, has no say.
func TestCompanionIsNotDecidedByImpostors(t *testing.T) {
	c := newCompanions(t)
	c.apply("steady.yaml")
	before, err := c.WaitForCertificate(t.Context(), c.namespace, "web-mtls")
	require.NoError(t, err)
	pods, err := c.WaitForPods(t.Context(), c.namespace, map[string]string{"app": "web"}, 1)
	require.NoError(t, err)
	impostor := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.namespace, Name: "zz-impostor",
			Labels:          map[string]string{appsv1.DefaultDeploymentUniqueLabelKey: pods[0].Labels[appsv1.DefaultDeploymentUniqueLabelKey]},
			Annotations:     map[string]string{intent.Prefix + "role": "client"},
			OwnerReferences: pods[0].OwnerReferences,
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.io/app"}}},
	}
	impostor.OwnerReferences[0].UID = "made-up"
	// The garbage collector takes such a pod away, so it may be gone before it is seen.
	require.NoError(t, c.Client.Create(t.Context(), impostor))
	require.NoError(t, c.WaitFor(t.Context(), "the impostor to go", func(ctx context.Context) error {
		err := c.Client.Get(ctx, client.ObjectKeyFromObject(impostor), &corev1.Pod{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, errors.New("it is there"))
	}))
	var after cmapi.Certificate
	c.read("web-mtls", &after)
	assert.Equal(t, before.Generation, after.Generation)
}
