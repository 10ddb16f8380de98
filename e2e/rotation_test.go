package e2e

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/csidriver"
	"example.io/mtls-injector/e2e/node"
	"example.io/mtls-injector/intent"
)

const (
	// rotations is how many renewals are awaited, each with its restart.
	rotations = 5
	// roundTimeout bounds the wait for one of them; it takes two thirds of a minute.
	roundTimeout = 2 * time.Minute
)

// TestRotationWithoutAnOutage: certificates of an external issuer live a minute, and the
// servers read theirs only when they start. With `reload: restart` each renewal restarts
// the workload once, and of a client's handshakes, which it makes all the time, not one
// fails. Without, they do.
func TestRotationWithoutAnOutage(t *testing.T) {
	r := newRotation(t)
	r.deploy(rotationFolder+"/servers.yaml", "orders", "ledger", "frozen")
	caller := r.caller()
	r.checkIssuer("orders")
	frozenPods := r.podNames("frozen")

	ctx, fail := context.WithCancelCause(t.Context())
	calling, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	steady := []*calls{r.call(calling, caller, "orders", fail), r.call(calling, caller, "ledger", fail)}
	frozen := r.call(calling, caller, "frozen", func(error) {})

	for round := 1; round <= rotations; round++ {
		for _, c := range steady {
			r.awaitRollout(ctx, c, round)
		}
		if round == 2 {
			// Just before a renewal, pods start with a Secret that is soon of the past.
			r.restartByHand(ctx, steady[1], 8*time.Second)
		}
	}
	renewed := []int{r.settle(ctx, steady[0]), r.settle(ctx, steady[1])}
	hangUp()
	for i, c := range steady {
		<-c.ended
		t.Logf("%v; %d renewals, as many restarts", c, renewed[i])
		require.NoError(t, c.failure)
		assert.Greater(t, len(c.servers), rotations, "%s: its certificates", c.app)
		assert.GreaterOrEqual(t, len(c.clients), rotations, "%s: the client's certificates", c.app)
	}

	<-frozen.ended
	restarts, renewals := r.count(frozen)
	t.Logf("%v; %d renewals, %d restarts", frozen, renewals, restarts)
	require.ErrorContains(t, frozen.failure, "certificate has expired")
	assert.Positive(t, frozen.handshakes, "as long as it was valid")
	assert.Zero(t, restarts)
	assert.Positive(t, renewals)
	assert.Equal(t, frozenPods, r.podNames("frozen"))
	for _, pod := range frozenPods {
		r.checkRenewedOnDisk(pod)
	}
}

// checkRenewedOnDisk checks that the pod has a certificate that is valid, whatever it is
// that its process has read.
func (r *rotation) checkRenewedOnDisk(pod string) {
	r.Helper()
	r.mu.Lock()
	dir := node.Path(r.roots[pod], "/etc/tls/server")
	r.mu.Unlock()
	require.NoError(r, r.WaitFor(r.Context(), "a valid certificate of pod "+pod, func(context.Context) error {
		leaf, err := loadCertificate(dir)
		if err == nil && time.Now().After(leaf.NotAfter) {
			err = fmt.Errorf("it has expired at %s", leaf.NotAfter)
		}
		return err
	}))
}

// checkIssuer checks that all names the external issuer in full, which gave a minute of
// the 90 days that it was asked for.
func (r *rotation) checkIssuer(app string) {
	r.Helper()
	cert, err := r.WaitForCertificate(r.Context(), r.namespace, app+"-mtls")
	require.NoError(r, err)
	assert.Equal(r, shortIssuer, cert.Spec.IssuerRef)
	assert.Equal(r, 90*day, cert.Spec.Duration.Duration)
	var secret corev1.Secret
	require.NoError(r, r.Client.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: cert.Spec.SecretName}, &secret))
	leaf, err := pki.DecodeX509CertificateBytes(secret.Data[corev1.TLSCertKey])
	require.NoError(r, err)
	assert.Equal(r, time.Minute+backdate, leaf.NotAfter.Sub(leaf.NotBefore))
	assert.Equal(r, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, leaf.ExtKeyUsage)

	pods, err := r.WaitForPods(r.Context(), r.namespace, map[string]string{"app": app}, 2)
	require.NoError(r, err)
	request, err := csidriver.Parse(&pods[0], "mtls-certs")
	require.NoError(r, err)
	assert.Equal(r, shortIssuer, request.Issuer)
}

// awaitRollout waits until so many renewals of the server's companion have each made all
// pods new. There are never more restarts than renewals.
func (r *rotation) awaitRollout(ctx context.Context, c *calls, renewals int) {
	r.Helper()
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	require.NoError(r, r.WaitFor(ctx, fmt.Sprintf("%s to be restarted for renewal %d", c.app, renewals), func(ctx context.Context) error {
		restarts, renewed := r.count(c)
		require.LessOrEqual(r, restarts, renewed, "%s: restarts", c.app)
		if restarts < renewals {
			return fmt.Errorf("there are %d renewals and %d restarts", renewed, restarts)
		}
		return r.rolledOut(ctx, c.app)
	}))
}

// settle waits for a moment at which each renewal has led to a restart, and returns how
// many there were. The pods of each had a hash of their own.
func (r *rotation) settle(ctx context.Context, c *calls) int {
	r.Helper()
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	var restarts, renewals int
	require.NoError(r, r.WaitFor(ctx, "no renewal of "+c.app+" to be without its restart", func(context.Context) error {
		if restarts, renewals = r.count(c); restarts != renewals {
			return fmt.Errorf("there are %d renewals and %d restarts", renewals, restarts)
		}
		return nil
	}))
	var sets appsv1.ReplicaSetList
	require.NoError(r, r.WaitFor(ctx, "a template for each restart of "+c.app, func(ctx context.Context) error {
		if err := r.Client.List(ctx, &sets, client.InNamespace(r.namespace), client.MatchingLabels{"app": c.app}); err != nil {
			return err
		}
		hashes := map[string]bool{}
		for i := range sets.Items {
			hashes[sets.Items[i].Spec.Template.Annotations[intent.AnnotationCertificateHash]] = true
		}
		if len(hashes) < restarts+1 || !hashes[""] { // the first pods had none
			return fmt.Errorf("there are %v", hashes)
		}
		return nil
	}))
	return renewals
}

// rolledOut succeeds when no pod of an earlier template is left, not even one that is on
// its way out.
func (r *rotation) rolledOut(ctx context.Context, app string) error {
	var pods corev1.PodList
	if err := r.Client.List(ctx, &pods, client.InNamespace(r.namespace), client.MatchingLabels{"app": app}); err != nil {
		return err
	}
	deployment := r.deployment(app)
	if s := &deployment.Status; s.ObservedGeneration != deployment.Generation || s.AvailableReplicas != 2 || len(pods.Items) != 2 {
		return errors.New("the rollout goes on")
	}
	for _, pod := range pods.Items {
		for key, value := range deployment.Spec.Template.Annotations {
			if pod.Annotations[key] != value {
				return fmt.Errorf("pod %s is an old one", pod.Name)
			}
		}
	}
	return nil
}

// restartByHand does, so long before the companion's next renewal, what kubectl rollout
// restart does.
func (r *rotation) restartByHand(ctx context.Context, c *calls, before time.Duration) {
	r.Helper()
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	require.NoError(r, r.WaitFor(ctx, "the next renewal of "+c.app, func(context.Context) error {
		if left := time.Until(r.companion(c.app).Status.RenewalTime.Time); left > before {
			return fmt.Errorf("it is %s from now", left)
		}
		return nil
	}))
	c.byHand++
	patch := client.RawPatch("application/merge-patch+json",
		[]byte(`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"now"}}}}}`))
	require.NoError(r, r.Client.Patch(ctx, r.deployment(c.app), patch))
}

// count returns how often the injector has restarted a server, and how often its
// companion has been renewed at that time or later.
func (r *rotation) count(c *calls) (restarts, renewals int) {
	r.Helper()
	// The API server counts the changes of the spec; the first is its creation.
	restarts = int(r.deployment(c.app).Generation) - 1 - c.byHand
	return restarts, *r.companion(c.app).Status.Revision - 1
}

func (r *rotation) deployment(app string) *appsv1.Deployment {
	r.Helper()
	var deployment appsv1.Deployment
	require.NoError(r, r.Client.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: app}, &deployment))
	return &deployment
}

func (r *rotation) companion(app string) *cmapi.Certificate {
	r.Helper()
	var cert cmapi.Certificate
	require.NoError(r, r.Client.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: app + "-mtls"}, &cert))
	return &cert
}

// podNames returns the names of the server's pods that serve.
func (r *rotation) podNames(app string) []string {
	var names []string
	for _, endpoint := range r.kubelet.Endpoints(map[string]string{"app": app}) {
		names = append(names, endpoint.Pod)
	}
	return names
}
