package e2e

// What the tests of attacks share: the victims, the attacker, and what he must not get.
// The list of all attacks, with what we promise, is docs/security.md.

import (
	"context"
	"strings"
	"sync"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
)

const attackFolder = "testdata/attack"

// attack is one row of the tables in docs/security.md, which has it under this name.
type attack struct {
	name string
	run  func(*testing.T, *attackScene)
}

// attackScene is a namespace with its workloads, and an attacker who may make, read,
// change and delete pods in it, and has no other right.
type attackScene struct {
	*companions
	*history
	attacker client.Client
	user     string
	// other is a namespace with a Service vault, in which the attacker may do nothing.
	other string
}

// history is what has become of a scene.
type history struct {
	test *testing.T // of the whole scene
	// before are the victims' companions as they were when the attacks began.
	before   map[string]cmapi.Certificate
	canaries int // that after has made

	mu   sync.Mutex
	seen []cmapi.Certificate // every state of every Certificate in the namespace
}

// on is the scene in a subtest, which fails alone.
func (s *attackScene) on(t *testing.T) *attackScene {
	t.Helper()
	c := *s.companions
	c.T = t
	within := *s
	within.companions = &c
	return &within
}

// victims are the companions of those that the attacker would like to be.
func victims() []string { return []string{"payments-mtls", "db-mtls-statefulset", "worker-mtls"} }

func newAttackScene(t *testing.T) *attackScene {
	t.Helper()
	s := &attackScene{history: &history{test: t}, companions: &companions{
		T: t, Cluster: shared,
		webhook:   runWebhook(t, shared, cluster.WebhookOptions{Config: attackFolder + "/injector.yaml"}),
		namespace: clustertest.Namespace(t, shared, nil),
	}}
	s.other = clustertest.Namespace(t, shared, nil)
	s.manifests("scene.yaml", s.namespace)
	s.manifests("other.yaml", s.other)
	s.user = "mallory@" + s.namespace
	s.bind()
	config, err := s.ConfigForUser(s.user)
	require.NoError(t, err)
	s.attacker, err = client.New(config, client.Options{Scheme: s.Scheme})
	require.NoError(t, err)
	for _, name := range victims() {
		_, err := s.WaitForCertificate(t.Context(), s.namespace, name)
		require.NoError(t, err)
	}
	s.before, err = s.theVictims(t.Context())
	require.NoError(t, err)
	s.record()
	return s
}

// manifests applies a file of the attacks' folder.
func (s *attackScene) manifests(file, namespace string) {
	s.Helper()
	clustertest.Apply(s.T, s.Cluster, attackFolder+"/"+file, namespace)
}

// bind gives the attacker what he may do and has, and the namespace an issuer.
func (s *attackScene) bind() {
	s.Helper()
	s.apply("issuer.yaml")
	s.manifests("mallory.yaml", s.namespace)
	require.NoError(s, s.Client.Create(s.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "pods-only"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "pods-only"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: s.user}},
	}))
}

// elsewhere is another namespace in which the attacker has the same rights, and where
// there are no victims.
func (s *attackScene) elsewhere(t *testing.T) *attackScene {
	t.Helper()
	e := &attackScene{
		companions: &companions{T: t, Cluster: s.Cluster, webhook: s.webhook, namespace: clustertest.Namespace(t, s.Cluster, nil)},
		history:    &history{test: t}, attacker: s.attacker, user: s.user, other: s.other,
	}
	e.bind()
	e.record()
	return e
}

// record keeps every state of every Certificate from now on, so that nothing goes unseen
// because it lasted a moment only.
func (s *attackScene) record() {
	s.Helper()
	stream, err := s.Client.Watch(s.Context(), &cmapi.CertificateList{}, client.InNamespace(s.namespace))
	require.NoError(s, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for event := range stream.ResultChan() {
			if cert, ok := event.Object.(*cmapi.Certificate); ok && event.Type != watch.Deleted {
				s.mu.Lock()
				s.seen = append(s.seen, *cert)
				s.mu.Unlock()
			}
		}
	}()
	s.Cleanup(func() {
		stream.Stop()
		<-ended
	})
}

// fill puts the namespaces' names in a text.
func (s *attackScene) fill(text string) string {
	return strings.NewReplacer("{ns}", s.namespace, "{other}", s.other).Replace(text)
}

// formsOf returns the four names of a Service of the attacker's namespace.
func (s *attackScene) formsOf(service string) []string {
	domain := service + "." + s.namespace
	return []string{service, domain, domain + ".svc", domain + ".svc.cluster.local"}
}

// check goes through all that became of Certificates since the beginning: the victims'
// have the specification that they had, and nobody else's says that he is one of them.
func (s *attackScene) check(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.seen {
		cert := &s.seen[i]
		if old, ok := s.before[cert.Name]; ok {
			assert.Equal(t, old.Spec, cert.Spec, "%s has changed", cert.Name)
			assert.Equal(t, old.UID, cert.UID, "%s was made anew", cert.Name)
			assert.Equal(t, old.Labels, cert.Labels, "%s", cert.Name)
			assert.Equal(t, old.OwnerReferences, cert.OwnerReferences, "%s", cert.Name)
			continue
		}
		s.cannotBe(t, "Certificate "+cert.Name, companionSays(t, cert), s.spiffeID("default"))
	}
	s.seen = nil
}

// theVictims reads the victims' companions.
func (s *attackScene) theVictims(ctx context.Context) (map[string]cmapi.Certificate, error) {
	found := map[string]cmapi.Certificate{}
	for _, name := range victims() {
		var cert cmapi.Certificate
		if err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, &cert); err != nil {
			return nil, err
		}
		found[name] = cert
	}
	return found, nil
}

// runAttacks runs them one after the other, and looks at all Certificates after each.
func runAttacks(t *testing.T, attacks []attack) {
	t.Helper()
	s := newAttackScene(t)
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			a.run(t, s.on(t))
			s.check(t)
		})
	}
	s.after(func() {}) // what the controller has still to do
	s.check(t)
}
