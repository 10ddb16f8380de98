package e2e

import (
	"context"
	"errors"
	"fmt"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// companion is the name of the Deployment web's companion and of its Secret.
const companion = "web-mtls"

// The controller's steps.
const (
	applyCompanion  = "PATCH certificates.cert-manager.io " + companion
	applyRestart    = "PATCH deployments.apps web"
	deleteCompanion = "DELETE certificates.cert-manager.io " + companion
	deleteSecret    = "DELETE secrets " + companion
)

func stories() map[string]*story {
	return map[string]*story{
		"create": {
			act:      func(g *stage) { g.apply("web.yaml") },
			settle:   (*stage).issued,
			again:    (*stage).lookedAtAgain,
			check:    (*stage).hasOneCompanion,
			told:     []string{"Issued"},
			writes:   []string{applyCompanion},
			rewrites: []string{applyCompanion},
		},
		"renew": {
			begin: func(g *stage) {
				g.establish("web-restarted.yaml")
				g.checkTemplate(1, assert.Empty)
			},
			act:    (*stage).renew,
			settle: (*stage).restarted,
			again:  (*stage).lookedAtAgain,
			check: func(g *stage) {
				g.hasOneCompanion()
				g.checkTemplate(2, assert.NotEmpty)
			},
			told:     []string{"Renewed", "Restarted"},
			writes:   []string{applyRestart},
			rewrites: []string{applyCompanion},
		},
		"delete, no companion wanted": {
			begin:  func(g *stage) { g.establish("web.yaml") },
			act:    func(g *stage) { g.roll(`{"mtls.example.io/companion":"false"}`) },
			settle: (*stage).removed,
			check:  (*stage).hasNoCompanion,
			writes: []string{deleteCompanion, deleteSecret},
		},
		"delete, opted out": {
			begin:  func(g *stage) { g.establish("web.yaml") },
			act:    func(g *stage) { g.roll(`{"mtls.example.io/role":null}`) },
			settle: (*stage).removed,
			check:  (*stage).hasNoCompanion,
			writes: []string{deleteCompanion, deleteSecret},
		},
		"delete, with the workload": {
			begin:  func(g *stage) { g.establish("web.yaml") },
			act:    func(g *stage) { require.NoError(g, g.deleteWorkload(g.Context())) },
			settle: (*stage).removed,
			check:  (*stage).hasNoCompanion,
			writes: []string{deleteSecret},
			shared: []string{deleteCompanion}, // with the garbage collector
		},
	}
}

// establish makes a workload and waits for all that follows. Besides it are the Secrets of
// others.
func (g *stage) establish(file string) {
	g.Helper()
	g.apply("foreign.yaml")
	g.apply(file)
	g.issued()
	g.told("Issued")
	g.before = g.foreignSecrets()
}

// foreignSecrets returns what tells whether the Secrets of others have been touched. The one
// that cert-manager keeps a next key in comes and goes with an issuance.
func (g *stage) foreignSecrets() map[string]string {
	g.Helper()
	var list corev1.SecretList
	require.NoError(g, shared.Client.List(g.Context(), &list, client.InNamespace(g.namespace)))
	versions := map[string]string{}
	for i := range list.Items {
		if s := &list.Items[i]; s.Name != companion && s.Labels[cmapi.IsNextPrivateKeySecretLabelKey] == "" {
			versions[s.Name] = string(s.UID) + "/" + s.ResourceVersion
		}
	}
	return versions
}

// issued waits for the companion and its Secret.
func (g *stage) issued() {
	g.Helper()
	_, err := shared.WaitForCertificate(g.patiently(), g.namespace, companion)
	require.NoError(g, err)
}

// hasOneCompanion checks that there is one Certificate, the workload's.
func (g *stage) hasOneCompanion() {
	g.Helper()
	g.issued()
	var list cmapi.CertificateList
	require.NoError(g, shared.Client.List(g.Context(), &list, client.InNamespace(g.namespace)))
	require.Len(g, list.Items, 1)
	var web appsv1.Deployment
	g.get("web", &web)
	owner := metav1.GetControllerOf(&list.Items[0])
	require.NotNil(g, owner)
	assert.Equal(g, "Deployment/web", owner.Kind+"/"+owner.Name)
	assert.Equal(g, web.UID, owner.UID)
	assert.Len(g, list.Items[0].OwnerReferences, 1)
	g.get(list.Items[0].Spec.SecretName, &corev1.Secret{})
}

// renew does what `cmctl renew` does, in another second than the one of the first
// certificate: that is how finely certificates are dated.
func (g *stage) renew() {
	g.Helper()
	var cert cmapi.Certificate
	g.get(companion, &cert)
	g.secondAfter(cert.Status.NotBefore.Time)
	g.until("the renewal to be asked for", func(ctx context.Context) error {
		var cert cmapi.Certificate
		if err := shared.Client.Get(ctx, client.ObjectKey{Namespace: g.namespace, Name: companion}, &cert); err != nil {
			return err
		}
		apiutil.SetCertificateCondition(&cert, cert.Generation, cmapi.CertificateConditionIssuing,
			cmmeta.ConditionTrue, "ManuallyTriggered", "the test asks for it")
		return shared.Client.Status().Update(ctx, &cert) // a conflict is tried again
	})
}

// restarted waits for the renewal and the restart that it brings.
func (g *stage) restarted() {
	g.Helper()
	g.until("revision 2", func(ctx context.Context) error {
		var cert cmapi.Certificate
		if err := shared.Client.Get(ctx, client.ObjectKey{Namespace: g.namespace, Name: companion}, &cert); err != nil {
			return err
		}
		if cert.Status.Revision == nil || *cert.Status.Revision != 2 {
			return fmt.Errorf("status: %v", cert.Status)
		}
		return nil
	})
	// The new pod never becomes ready here, so the old one, which a restart was due for, stays.
	pods, err := shared.WaitForPods(g.patiently(), g.namespace, map[string]string{"app": "web"}, 2)
	require.NoError(g, err)
	hashes := map[string]int{}
	for i := range pods {
		assert.Equal(g, "true", pods[i].Labels[intent.LabelInjected])
		hashes[pods[i].Annotations[intent.AnnotationCertificateHash]]++
	}
	assert.Len(g, hashes, 2)
	assert.Equal(g, 1, hashes[""])
}

// lookedAtAgain takes a label off the companion. When it is back, the controller has
// looked at the workload as it is now.
func (g *stage) lookedAtAgain() {
	g.Helper()
	const label = intent.Prefix + "role"
	key := client.ObjectKey{Namespace: g.namespace, Name: companion}
	cert := &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"`+label+`":null}}}`))
	require.NoError(g, shared.Client.Patch(g.Context(), cert, patch))
	g.until("the label to be back", func(ctx context.Context) error {
		if err := shared.Client.Get(ctx, key, cert); err != nil {
			return err
		}
		if cert.Labels[label] == "" {
			return errors.New("it is not")
		}
		return nil
	})
}

// checkTemplate checks how often the Deployment's specification has been written, and the
// annotation of the restart.
func (g *stage) checkTemplate(generation int64, hash func(assert.TestingT, any, ...any) bool) {
	g.Helper()
	var web appsv1.Deployment
	g.get("web", &web)
	assert.Equal(g, generation, web.Generation, "the Deployment's generation")
	hash(g, web.Spec.Template.Annotations[intent.AnnotationCertificateHash])
	if g.before != nil {
		assert.Equal(g, g.before, g.foreignSecrets())
	}
}

// roll changes the annotations of the pod template and plays the kubelet, so that the old
// pod goes. Creation times have whole seconds: the new pod must come out newer.
func (g *stage) roll(annotations string) {
	g.Helper()
	old, err := shared.WaitForPods(g.patiently(), g.namespace, map[string]string{"app": "web"}, 1)
	require.NoError(g, err)
	g.secondAfter(old[0].CreationTimestamp.Time)
	web := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: "web"}}
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":%s}}}}`, annotations)
	require.NoError(g, shared.Client.Patch(g.Context(), web, client.RawPatch("application/merge-patch+json", patch)))
	g.until("the rollout to end", func(ctx context.Context) error {
		var pods corev1.PodList
		if err := shared.Client.List(ctx, &pods, client.InNamespace(g.namespace), client.MatchingLabels{"app": "web"}); err != nil {
			return err
		}
		if len(pods.Items) == 1 && pods.Items[0].UID != old[0].UID {
			return nil
		}
		return errors.Join(errors.New("there is more than the new pod"), makeAllReady(ctx, pods.Items))
	})
}

// secondAfter waits until the second of the time is over.
func (g *stage) secondAfter(last time.Time) {
	g.Helper()
	g.until("the next second", func(context.Context) error {
		if !time.Now().After(last.Add(time.Second)) {
			return errors.New("not yet")
		}
		return nil
	})
}

// makeAllReady does to the status of pods what a kubelet would.
func makeAllReady(ctx context.Context, pods []corev1.Pod) error {
	var errs []error
	for i := range pods {
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}`))
		errs = append(errs, client.IgnoreNotFound(shared.Client.Status().Patch(ctx, &pods[i], patch)))
	}
	return errors.Join(errs...)
}

// companionLeft says what there is of the companion.
func (g *stage) companionLeft(ctx context.Context) error {
	key := client.ObjectKey{Namespace: g.namespace, Name: companion}
	var errs []error
	for _, object := range []client.Object{&cmapi.Certificate{}, &corev1.Secret{}} {
		err := shared.Client.Get(ctx, key, object)
		switch {
		case err == nil:
			errs = append(errs, fmt.Errorf("the %T is there", object))
		case !apierrors.IsNotFound(err):
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (g *stage) removed() {
	g.Helper()
	g.until("the companion to go", g.companionLeft)
}

// hasNoCompanion checks that neither Certificate nor Secret came back, and that what is
// somebody else's has not been touched.
func (g *stage) hasNoCompanion() {
	g.Helper()
	require.NoError(g, g.companionLeft(g.Context()))
	require.Len(g, g.before, 3)
	assert.Equal(g, g.before, g.foreignSecrets())
}
