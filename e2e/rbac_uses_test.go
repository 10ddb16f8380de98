package e2e

// What the injector's rights are for: each use is something that does not come about
// without the right.

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// use is one use of a right, when what it needs besides has been made.
type use struct {
	// act has the injector use the right.
	act func()
	// works is an error until that has had its effect.
	works func(context.Context) error
	// once says that what has failed is not tried again, but has to be acted for again.
	once bool
	// silent says that the log does not tell of a refusal.
	silent bool
}

// useMaker prepares a use, while the injector has all its rights.
type useMaker func(t *testing.T, s *rbacScene) use

// rbacUses are all uses by name. Together they are all that the injector does.
func rbacUses() map[string]useMaker {
	return map[string]useMaker{
		"start":                                start,
		"first start":                          firstStart,
		"start, told of":                       startToldOf,
		"start, following namespaces":          startFollowing("", "namespaces"),
		"start, following services":            startFollowing("", "services"),
		"start, following pods":                startFollowing("", "pods"),
		"start, following certificates":        startFollowing("cert-manager.io", "certificates"),
		"server without a Service":             serverAlone,
		"workload without a CA bundle":         missingBundle,
		"pod that mounts a foreign Secret":     mountedSecret,
		"companion of a Pod":                   companionOfA("Pod"),
		"companion of a Deployment":            companionOfA("Deployment"),
		"companion of a ReplicaSet":            companionOfA("ReplicaSet"),
		"companion of a StatefulSet":           companionOfA("StatefulSet"),
		"companion of a DaemonSet":             companionOfA("DaemonSet"),
		"companion of a Job":                   companionOfA("Job"),
		"companion of a CronJob":               companionOfA("CronJob"),
		"companion of a ReplicationController": companionOfA("ReplicationController"),
		"restart of a Deployment":              restartOfA("Deployment"),
		"restart of a StatefulSet":             restartOfA("StatefulSet"),
		"restart of a DaemonSet":               restartOfA("DaemonSet"),
		"clean-up":                             cleanUp,
		"clean-up of what went unseen":         sweep,
		"foreign Secret":                       foreignSecret,
		"second renewal":                       secondRenewal,
		"told of a missing issuer":             missingIssuer,
	}
}

// rbacNeeds says what each right is for, by the uses' names.
func rbacNeeds() map[string][]string {
	const alone = "server without a Service"
	return map[string][]string{
		"get namespaces":   {alone},
		"list namespaces":  {"start"},
		"watch namespaces": {"start, following namespaces"},
		"list services":    {"start", alone},
		"watch services":   {"start, following services"},
		"get pods":         {"companion of a Pod"},
		"list pods":        {"start", "clean-up"},
		"watch pods":       {"start, following pods"},

		"get deployments.apps":       {"companion of a Deployment", alone},
		"patch deployments.apps":     {"restart of a Deployment"},
		"get statefulsets.apps":      {"companion of a StatefulSet", alone},
		"patch statefulsets.apps":    {"restart of a StatefulSet"},
		"get daemonsets.apps":        {"companion of a DaemonSet", alone},
		"patch daemonsets.apps":      {"restart of a DaemonSet"},
		"get replicasets.apps":       {"companion of a ReplicaSet", "companion of a Deployment", alone},
		"get jobs.batch":             {"companion of a Job", "companion of a CronJob", alone},
		"get cronjobs.batch":         {"companion of a CronJob", alone},
		"get replicationcontrollers": {"companion of a ReplicationController", alone},

		"get certificates.cert-manager.io":        {"companion of a Pod"},
		"list certificates.cert-manager.io":       {"start"},
		"watch certificates.cert-manager.io":      {"start, following certificates"},
		"create certificates.cert-manager.io":     {"companion of a Pod"},
		"patch certificates.cert-manager.io":      {"companion of a Pod"},
		"delete certificates.cert-manager.io":     {"clean-up"},
		"get certificaterequests.cert-manager.io": {"told of a missing issuer"},

		"get configmaps/mtls-ca-bundle": {"workload without a CA bundle"},
		"get secrets":                   {"companion of a Pod", "pod that mounts a foreign Secret"},
		"list secrets":                  {"clean-up of what went unseen"},
		"delete secrets":                {"clean-up"},
		"create events.events.k8s.io":   {"foreign Secret"},
		"patch events.events.k8s.io":    {"second renewal"},

		"get leases.coordination.k8s.io in mtls-injector":    {"start"},
		"create leases.coordination.k8s.io in mtls-injector": {"first start"},
		"update leases.coordination.k8s.io in mtls-injector": {"start"},
		"create events in mtls-injector":                     {"start, told of"},
	}
}

// serverAlone is a bare server that no Service selects. One that does may just have been
// made. If there is none, the pod's name is its own, unless a workload has it.
func serverAlone(t *testing.T, s *rbacScene) use {
	t.Helper()
	c := s.newCompanions(t, nil)
	works := func(ctx context.Context) error {
		return s.Client.Create(ctx, podWith(c.namespace, map[string]string{"role": "server"}), client.DryRunAll)
	}
	return use{act: func() { _ = works(t.Context()) }, works: works}
}

// missingBundle is warned of when the workload is written that needs it.
func missingBundle(t *testing.T, s *rbacScene) use {
	t.Helper()
	c, warned := s.newCompanions(t, nil), warningClient(t, s.Cluster)
	works := func(ctx context.Context) error {
		return warns(ctx, warned, c.readWorkload("Deployment"), `ConfigMap "mtls-ca-bundle" with the CA bundle does not exist`)
	}
	require.NoError(t, s.WaitFor(t.Context(), "the webhook to be called for workloads", works))
	return use{act: func() { _ = works(t.Context()) }, works: works, silent: true}
}

// mountedSecret is somebody's Secret, in the place of a companion's.
func mountedSecret(t *testing.T, s *rbacScene) use {
	t.Helper()
	c, warned := s.newCompanions(t, nil), warningClient(t, s.Cluster)
	require.NoError(t, s.Client.Create(t.Context(), secretOf(c.namespace, nil, nil)))
	works := func(ctx context.Context) error {
		return warns(ctx, warned, podWith(c.namespace, map[string]string{"role": "client", "delivery": "secret"}), secretTaken)
	}
	return use{act: func() { _ = works(t.Context()) }, works: works}
}

// warns is an error unless the creation of the object is warned of with that text.
func warns(ctx context.Context, warned client.Client, object client.Object, text string) error {
	ctx, warnings := collectWarnings(ctx)
	if err := warned.Create(ctx, object, client.DryRunAll); err != nil {
		return err
	}
	if all := strings.Join(warnings.texts, "; "); !strings.Contains(all, text) {
		return fmt.Errorf("warnings: %q", all)
	}
	return nil
}

func companionOfA(kind string) useMaker {
	return func(t *testing.T, s *rbacScene) use {
		t.Helper()
		c := s.newCompanions(t, nil)
		c.apply("issuer.yaml")
		var w madeWorkload
		return use{
			act:   func() { w = c.makeWorkload(kind) },
			works: func(ctx context.Context) error { return c.hasCompanion(ctx, w) },
		}
	}
}

// restartOfA workload, because its certificate has been renewed.
func restartOfA(kind string) useMaker {
	return func(t *testing.T, s *rbacScene) use {
		t.Helper()
		c := s.newCompanions(t, map[string]string{intent.Prefix + "reload": "restart"})
		c.apply("issuer.yaml")
		w := c.makeWorkload(kind)
		cert, err := c.WaitForCertificate(t.Context(), c.namespace, w.companion.Name)
		require.NoError(t, err)
		// A renewal within the same second does not look like one for half a minute.
		require.NoError(t, s.WaitFor(t.Context(), "the next second", func(context.Context) error {
			if time.Now().Before(cert.Status.NotBefore.Add(time.Second)) {
				return errors.New("not yet")
			}
			return nil
		}))
		return use{
			act:   func() { c.renew(w.companion.Name) },
			works: func(ctx context.Context) error { return c.isRestarted(ctx, w) },
		}
	}
}

// cleanUp of a companion that is no longer wanted, and of its Secret.
func cleanUp(t *testing.T, s *rbacScene) use {
	t.Helper()
	c, w := issuedPod(t, s)
	act := func() {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: w.key.Name}}
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"mtls.example.io/companion":"false"}}}`))
		require.NoError(t, s.Client.Patch(t.Context(), pod, patch))
	}
	return use{act: act, works: func(ctx context.Context) error { return c.absent(ctx, w.companion.Name) }}
}

// issuedPod makes a bare pod whose companion has been issued.
func issuedPod(t *testing.T, s *rbacScene) (*companions, madeWorkload) {
	t.Helper()
	c := s.newCompanions(t, nil)
	c.apply("issuer.yaml")
	w := c.makeWorkload("Pod")
	_, err := c.WaitForCertificate(t.Context(), c.namespace, w.companion.Name)
	require.NoError(t, err)
	return c, w
}

// foreignSecret is in a companion's way, which its workload is told.
func foreignSecret(t *testing.T, s *rbacScene) use {
	t.Helper()
	c := s.newCompanions(t, nil)
	made := 0
	var w madeWorkload
	act := func() {
		made++
		w = c.of(corev1.SchemeGroupVersion.WithKind("Pod"), "alone-"+strconv.Itoa(made))
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: w.companion.Name}}
		require.NoError(t, s.Client.Create(t.Context(), secret))
		c.makePod(w.key.Name)
	}
	return use{act: act, once: true, works: func(ctx context.Context) error { return c.isTold(ctx, w, "NameTaken") }}
}

// secondRenewal is told of by the Event of the first one, which becomes a series.
func secondRenewal(t *testing.T, s *rbacScene) use {
	t.Helper()
	c := s.newCompanions(t, nil)
	c.apply("issuer.yaml")
	made := 0
	var w madeWorkload
	act := func() {
		made++
		w = c.makePod("alone-" + strconv.Itoa(made))
		_, err := c.WaitForCertificate(t.Context(), c.namespace, w.companion.Name)
		require.NoError(t, err)
		c.told("Pod", w.key.Name, "Issued")
		c.renew(w.companion.Name)
		c.told("Pod", w.key.Name, "Renewed")
		c.renew(w.companion.Name)
	}
	works := func(ctx context.Context) error {
		var list eventsv1.EventList
		if err := s.Client.List(ctx, &list, client.InNamespace(c.namespace)); err != nil {
			return err
		}
		for _, event := range list.Items {
			if event.Regarding.Name == w.key.Name && event.Series != nil {
				return nil
			}
		}
		return fmt.Errorf("no series among %d Events", len(list.Items))
	}
	return use{act: act, works: works, once: true}
}
