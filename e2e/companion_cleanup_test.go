package e2e

// What goes with a workload: the companion, and the Secret with the private key.

import (
	"context"
	"errors"
	"fmt"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/intent"
)

// annotate sets, or with null removes, annotations of web's pod template.
func (c *companions) annotate(patch string) {
	c.Helper()
	c.patchWeb(`{"spec":{"template":{"metadata":{"annotations":` + patch + `}}}}`)
}

func (c *companions) patchWeb(patch string) {
	c.Helper()
	web := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "web"}}
	require.NoError(c, c.Client.Patch(c.Context(), web, client.RawPatch("application/merge-patch+json", []byte(patch))))
}

// issued waits for web's companion and its Secret.
func (c *companions) issued() *cmapi.Certificate {
	c.Helper()
	cert, err := c.WaitForCertificate(c.Context(), c.namespace, "web-mtls")
	require.NoError(c, err)
	return cert
}

// gone waits until web's companion and its Secret are no more.
func (c *companions) gone() {
	c.Helper()
	require.NoError(c, c.WaitFor(c.Context(), "companion and Secret to go", func(ctx context.Context) error {
		return c.absent(ctx, "web-mtls")
	}))
}

// absent is an error while there is a Certificate or Secret of that name.
func (c *companions) absent(ctx context.Context, name string) error {
	for _, object := range []client.Object{&cmapi.Certificate{}, &corev1.Secret{}} {
		switch err := c.Client.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, object); {
		case err == nil:
			return fmt.Errorf("%T is there", object)
		case !apierrors.IsNotFound(err):
			return err
		}
	}
	return nil
}

// outcome waits until the controller has come to the outcome more than so many times.
func (c *companions) outcome(name string, more int) {
	c.Helper()
	require.NoError(c, c.WaitFor(c.Context(), "outcome "+name, func(context.Context) error {
		if n := c.counts("mtls_injector_companion_reconciles_total")[name]; n <= more {
			return fmt.Errorf("%d times", n)
		}
		return nil
	}))
}

// TestCompanionIsCleanedUp in every way in which a workload can stop wanting one.
func TestCompanionIsCleanedUp(t *testing.T) {
	for name, test := range map[string]func(*companions){
		"workload deleted": func(c *companions) {
			web := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "web"}}
			require.NoError(c, c.Client.Delete(c.Context(), web, client.PropagationPolicy(metav1.DeletePropagationBackground)))
		},
		"workload deleted, pods orphaned": func(c *companions) {
			web := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "web"}}
			require.NoError(c, c.Client.Delete(c.Context(), web, client.PropagationPolicy(metav1.DeletePropagationOrphan)))
			all := &client.DeleteAllOfOptions{}
			all.Namespace = c.namespace
			require.NoError(c, c.Client.DeleteAllOf(c.Context(), &appsv1.ReplicaSet{}, all, client.PropagationPolicy(metav1.DeletePropagationBackground)))
		},
		"no companion wanted": func(c *companions) { c.annotate(`{"mtls.example.io/companion":"false"}`) },
		"role none":           func(c *companions) { c.annotate(`{"mtls.example.io/role":"none"}`) },
		"role removed":        func(c *companions) { c.annotate(`{"mtls.example.io/role":null}`) },
		"namespace opted out": func(c *companions) {
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}
			patch := fmt.Sprintf(`{"metadata":{"labels":{%q:null}}}`, cluster.EnabledLabel)
			require.NoError(c, c.Client.Patch(c.Context(), ns, client.RawPatch("application/merge-patch+json", []byte(patch))))
			c.annotate(`{"restarted":"1"}`)
		},
		"opted out while scaled to zero": func(c *companions) {
			c.patchWeb(`{"spec":{"replicas":0}}`)
			c.outcome("no-pod", 0)
			c.issued() // it is still wanted
			c.annotate(`{"mtls.example.io/role":"none"}`)
			c.patchWeb(`{"spec":{"replicas":1}}`)
			// Nothing tells the controller about pods that are not ours, but the next start.
			c.restartWebhook()
		},
		"while nobody was looking": func(c *companions) {
			require.NoError(c, c.webhook.Stop())
			web := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "web"}}
			require.NoError(c, c.Client.Delete(c.Context(), web, client.PropagationPolicy(metav1.DeletePropagationBackground)))
			require.NoError(c, c.WaitFor(c.Context(), "the garbage collector", func(ctx context.Context) error {
				err := c.Client.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: "web-mtls"}, &cmapi.Certificate{})
				if apierrors.IsNotFound(err) {
					return nil
				}
				return errors.Join(err, errors.New("the Certificate is there"))
			}))
			var secret corev1.Secret
			c.read("web-mtls", &secret) // cert-manager leaves it
			c.startWebhook()
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCompanions(t)
			c.apply("secret.yaml")
			c.annotate(`{"mtls.example.io/delivery":null}`)
			c.issued()
			c.finishRollouts()
			test(c)
			c.finishRollouts()
			c.gone()
			var somebodys corev1.Secret
			c.read("somebodys", &somebodys)
		})
	}
}

func (c *companions) startWebhook() {
	c.Helper()
	c.webhook = runWebhook(c.T, c.Cluster, cluster.WebhookOptions{Config: companionsFolder + "/injector.yaml"})
}

func (c *companions) restartWebhook() {
	c.Helper()
	require.NoError(c, c.webhook.Stop())
	c.startWebhook()
}

// finishRollouts makes web's pods Ready until the old ones are gone, as a kubelet would.
func (c *companions) finishRollouts() {
	c.Helper()
	require.NoError(c, c.WaitFor(c.Context(), "web to be rolled out", func(ctx context.Context) error {
		var web appsv1.Deployment
		err := c.Client.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: "web"}, &web)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		var pods corev1.PodList
		if err := c.Client.List(ctx, &pods, client.InNamespace(c.namespace), client.MatchingLabels{"app": "web"}); err != nil {
			return err
		}
		for i := range pods.Items {
			if pods.Items[i].Status.Phase == corev1.PodPending {
				c.makeReady(&pods.Items[i])
			}
		}
		want := *web.Spec.Replicas
		if s := web.Status; s.ObservedGeneration < web.Generation || s.Replicas != want || s.UpdatedReplicas != want || s.AvailableReplicas != want {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	}))
}

// TestCompanionSecretStaysWhileItIsMounted, and goes with the last pod that mounts it.
func TestCompanionSecretStaysWhileItIsMounted(t *testing.T) {
	c := newCompanions(t)
	c.apply("secret.yaml")
	before := c.issued()
	c.finishRollouts()
	pods, err := c.WaitForPods(t.Context(), c.namespace, map[string]string{"app": "web"}, 1)
	require.NoError(t, err)
	c.awaitNextSecond(&pods[0])
	c.annotate(`{"mtls.example.io/delivery":"csi","mtls.example.io/companion":"false"}`)
	c.outcome("secret-in-use", 0) // the new pod is not Ready, so the old one stays
	var secret corev1.Secret
	c.read("web-mtls", &secret)
	assert.Equal(t, before.UID, c.issued().UID)
	c.finishRollouts()
	c.gone()
}

// TestCompanionCleanupWithOwnerReferences: where cert-manager gives the Secret an owner
// itself, the garbage collector may be first.
func TestCompanionCleanupWithOwnerReferences(t *testing.T) {
	c := &companions{T: t, Cluster: clustertest.New(t, cluster.Options{CertificateOwnerRef: true})}
	c.startWebhook()
	c.namespace = clustertest.Namespace(t, c.Cluster, nil)
	c.apply("issuer.yaml")
	c.apply("steady.yaml")
	c.issued()
	var secret corev1.Secret
	c.read("web-mtls", &secret)
	require.Len(t, secret.OwnerReferences, 1)
	assert.Equal(t, "Certificate", secret.OwnerReferences[0].Kind)
	c.finishRollouts()
	c.annotate(`{"mtls.example.io/companion":"false"}`)
	c.finishRollouts()
	c.gone()
	assert.Zero(t, c.counts("mtls_injector_companion_reconciles_total")["failed"])
}

// TestNamespaceOfCompanionsIsDeleted without an error, and without a loop of them.
func TestNamespaceOfCompanionsIsDeleted(t *testing.T) {
	c := newCompanions(t)
	c.apply("steady.yaml")
	c.issued()
	_, err := c.WaitForCertificate(t.Context(), c.namespace, "db-mtls-statefulset")
	require.NoError(t, err)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}
	require.NoError(t, c.Client.Delete(t.Context(), ns))
	require.NoError(t, c.WaitFor(t.Context(), "the namespace to go", func(ctx context.Context) error {
		err := c.Client.Get(ctx, client.ObjectKeyFromObject(ns), ns)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, fmt.Errorf("%v", ns.Status))
	}))
	assert.Zero(t, c.counts("mtls_injector_companion_reconciles_total")["failed"])
}

// TestForgedStatusDecidesNothing: whoever may write pods' annotations and labels gets no
// name and no companion that admission would have refused.
func TestForgedStatusDecidesNothing(t *testing.T) {
	c := newCompanions(t)
	c.apply("steady.yaml")
	before := c.issued()
	pods, err := c.WaitForPods(t.Context(), c.namespace, map[string]string{"app": "web"}, 1)
	require.NoError(t, err)
	pod := &pods[0]
	merge := func(patch string) {
		require.NoError(t, c.Client.Patch(t.Context(), pod, client.RawPatch("application/merge-patch+json", []byte(patch))))
	}
	for _, forged := range []string{
		`{"mtls.example.io/status":"{\"role\":\"server\",\"dns\":[\"evil.example.com\"],\"companion\":\"db-mtls-statefulset\",\"issuer\":\"ClusterIssuer/other\"}"}`,
		`{"mtls.example.io/dns-names":"evil.example.com"}`,
		`{"mtls.example.io/dns-names":null,"mtls.example.io/service":"db"}`,
		`{"mtls.example.io/service":null,"mtls.example.io/issuer":"other"}`,
		`{"mtls.example.io/issuer":null,"mtls.example.io/certificate-hash":"0123456789abcdef"}`,
	} {
		looks := c.looks()
		merge(`{"metadata":{"annotations":` + forged + `}}`)
		c.looked(looks)
	}
	// A label that makes an uninjected pod look like one of ours, with all that it claims.
	looks := c.looks()
	c.apply("forged.yaml")
	c.looked(looks)
	after := c.issued()
	assert.Equal(t, before.Spec, after.Spec)
	assert.Equal(t, before.Generation, after.Generation)
	var all cmapi.CertificateList
	require.NoError(t, c.Client.List(t.Context(), &all, client.InNamespace(c.namespace)))
	for _, cert := range all.Items {
		assert.NotContains(t, fmt.Sprint(cert.Spec), "evil", cert.Name)
		assert.Equal(t, "companions", cert.Spec.IssuerRef.Name)
	}
	assert.NotEmpty(t, pod.Labels[intent.LabelInjected])
}

// looks counts all looks of the controller.
func (c *companions) looks() int {
	c.Helper()
	n := 0
	for _, count := range c.counts("mtls_injector_companion_reconciles_total") {
		n += count
	}
	return n
}

// looked waits until the controller has looked again.
func (c *companions) looked(before int) {
	c.Helper()
	require.NoError(c, c.WaitFor(c.Context(), "another look", func(context.Context) error {
		if n := c.looks(); n <= before {
			return fmt.Errorf("%d looks", n)
		}
		return nil
	}))
}

// TestForgedLabelWhereNobodyOptedIn: in a namespace that is not opted in nobody looks at a
// pod when it is made, and what it says of itself is worth nothing.
func TestForgedLabelWhereNobodyOptedIn(t *testing.T) {
	c := newCompanions(t)
	ns, err := c.CreateNamespace(t.Context(), "test-", nil, nil)
	require.NoError(t, err)
	c.namespace = ns.Name
	c.apply("issuer.yaml")
	before := c.counts("mtls_injector_companion_reconciles_total")["not-wanted"]
	c.apply("forged.yaml")
	c.outcome("not-wanted", before)
	var certs cmapi.CertificateList
	require.NoError(t, c.Client.List(t.Context(), &certs, client.InNamespace(ns.Name)))
	assert.Empty(t, certs.Items)

	// Opting in is what it takes, and opting out again takes it away.
	label := func(value string) {
		patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, cluster.EnabledLabel, value)
		require.NoError(t, c.Client.Patch(t.Context(), ns, client.RawPatch("application/merge-patch+json", []byte(patch))))
	}
	label(`"true"`)
	_, err = c.WaitForCertificate(t.Context(), ns.Name, "forged-mtls-pod")
	require.NoError(t, err)
	label("null")
	require.NoError(t, c.WaitFor(t.Context(), "companion and Secret to go", func(ctx context.Context) error {
		return c.absent(ctx, "forged-mtls-pod")
	}))
}
