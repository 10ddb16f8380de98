package certs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

// certificates stands for the cache.
type certificates struct {
	client.Reader
	items []cmapi.Certificate
	err   error
}

func (c *certificates) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	found, ok := list.(*cmapi.CertificateList)
	if !ok {
		return fmt.Errorf("%T asked for", list)
	}
	found.Items = c.items
	return c.err
}

// empty is a cache that is never filled, and waits for that as long as it may.
type empty struct{ client.Reader }

func (empty) List(ctx context.Context, _ client.ObjectList, _ ...client.ListOption) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestCollectorKeepsNobodyWaiting: the other metrics are told all the same.
func TestCollectorKeepsNobodyWaiting(t *testing.T) {
	c := newCollector(empty{}, func() int { return 0 })
	assert.Positive(t, c.patience)
	c.patience = 1 // nanosecond
	c.leading.Store(true)
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(c))
	families, err := registry.Gather()
	require.NoError(t, err)
	assert.Empty(t, families)
}

func TestCollector(t *testing.T) {
	ready := cmapi.CertificateCondition{Type: cmapi.CertificateConditionReady, Status: cmmeta.ConditionTrue}
	cert := func(name string, status cmapi.CertificateStatus, change ...func(*cmapi.Certificate)) cmapi.Certificate {
		c := Desired(resolved(t, deployed("web-5d9-a", "5d9", server)))
		c.Name, c.Status = name, status
		c.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: FieldManager}}
		for _, f := range change {
			f(c)
		}
		return *c
	}
	cache := &certificates{err: errors.New("asked"), items: []cmapi.Certificate{
		cert("a", cmapi.CertificateStatus{Conditions: []cmapi.CertificateCondition{ready}, NotAfter: at(1_000_000)}),
		cert("b", cmapi.CertificateStatus{Conditions: []cmapi.CertificateCondition{ready}}),
		cert("c", cmapi.CertificateStatus{Conditions: []cmapi.CertificateCondition{issuing(cmmeta.ConditionFalse, "", "")}, LastFailureTime: at(1), NotAfter: at(2_000_000)}),
		cert("d", cmapi.CertificateStatus{}),
		cert("not-applied", cmapi.CertificateStatus{NotAfter: at(9)}, func(c *cmapi.Certificate) { c.ManagedFields[0].Manager = "kubectl" }),
		cert("not-labelled", cmapi.CertificateStatus{NotAfter: at(9)}, func(c *cmapi.Certificate) { delete(c.Labels, LabelCertType) }),
		cert("another's", cmapi.CertificateStatus{NotAfter: at(9)}, func(c *cmapi.Certificate) { c.Labels[LabelManagedBy] = "Helm" }),
	}}
	c := newCollector(cache, func() int { return 5 })
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(c))
	families, err := registry.Gather()
	require.NoError(t, err)
	assert.Empty(t, families, "those who do not lead have no companions, and do not ask")

	c.leading.Store(true)
	_, err = registry.Gather()
	require.ErrorContains(t, err, ": asked")
	cache.err = nil
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP mtls_injector_companion_not_after_timestamp_seconds End of a companion Certificate's lifetime, in seconds since the epoch.
# TYPE mtls_injector_companion_not_after_timestamp_seconds gauge
mtls_injector_companion_not_after_timestamp_seconds{name="a",namespace="shop",role="server",workload="web",workload_kind="Deployment"} 1e+06
mtls_injector_companion_not_after_timestamp_seconds{name="c",namespace="shop",role="server",workload="web",workload_kind="Deployment"} 2e+06
# HELP mtls_injector_companions Companion Certificates by state: ready, pending, failed, and those that cannot be for somebody has their name (name-taken).
# TYPE mtls_injector_companions gauge
mtls_injector_companions{state="failed"} 1
mtls_injector_companions{state="name-taken"} 5
mtls_injector_companions{state="pending"} 1
mtls_injector_companions{state="ready"} 2
`)))
}

// pages answers lists of Secrets page by page.
type pages struct {
	client.Reader
	asked []string
	errs  map[string]error
}

func (p *pages) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	options := (&client.ListOptions{}).ApplyOptions(opts)
	p.asked = append(p.asked, fmt.Sprintf("%T %s limit %d from %q", list, options.LabelSelector, options.Limit, options.Continue))
	secrets, ok := list.(*metav1.PartialObjectMetadataList)
	if !ok {
		return fmt.Errorf("%T is not asked for by its metadata", list)
	}
	secrets.Items = []metav1.PartialObjectMetadata{{ObjectMeta: metav1.ObjectMeta{Name: "on-" + options.Continue}}, {ObjectMeta: metav1.ObjectMeta{Name: "too"}}}
	secrets.Continue = map[string]string{"": "2", "2": "3"}[options.Continue]
	return p.errs[options.Continue]
}

func TestSweep(t *testing.T) {
	const list = "*v1.PartialObjectMetadataList app.kubernetes.io/managed-by=mtls-injector,cert-type=mtls limit 500 from "
	for name, test := range map[string]struct {
		errs  map[string]error
		want  []string
		asked []string
		err   string
	}{
		"page by page": {nil, []string{"on-", "too", "on-2", "too", "on-3", "too"}, []string{list + `""`, list + `"2"`, list + `"3"`}, ""},
		"forbidden":    {map[string]error{"": errForbidden}, nil, []string{list + `""`}, ""},
		"ailing": {map[string]error{"2": errors.New("oops")}, []string{"on-", "too"}, []string{list + `""`, list + `"2"`},
			"list metadata of Secrets: oops"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &pages{errs: test.errs}
			out := make(chan event.GenericEvent, 9)
			err := (&reconciler{live: p}).sweep(t.Context(), out)
			close(out)
			if test.err == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, test.err)
			}
			var got []string
			for e := range out {
				got = append(got, e.Object.GetName())
			}
			assert.Equal(t, test.want, got)
			assert.Equal(t, test.asked, p.asked)
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p := &pages{}
		require.NoError(t, (&reconciler{live: p}).sweep(ctx, make(chan event.GenericEvent)), "nobody takes what it finds")
		assert.Len(t, p.asked, 1)
	})
}

// TestSweptSecrets: what the sweep finds is looked at as anything else.
func TestSweptSecrets(t *testing.T) {
	s := newStage(t, secretNamed("web-mtls"))
	out := make(chan event.GenericEvent, 9)
	require.NoError(t, s.sweep(t.Context(), out))
	require.Len(t, out, 1)
	s.request.NamespacedName = client.ObjectKeyFromObject((<-out).Object)
	s.look(t, removed)
	assert.Empty(t, s.left(t))
	s.look(t, noPod)

	kept := newStage(t, mounting(annotated("alone", nil), "web-mtls", false), secretNamed("web-mtls"))
	kept.look(t, secretInUse)
	assert.Equal(t, "Secret", kept.left(t))

	busy := newStage(t, secretNamed("web-mtls"))
	lists := 0
	busy.world.refuseList = func(list client.ObjectList) error {
		if _, ok := list.(*corev1.PodList); ok {
			lists++
		}
		if lists == 2 {
			return errors.New("oops")
		}
		return nil
	}
	busy.fails(t, "list pods: oops")
	assert.Equal(t, "Secret", busy.left(t), "not known means in use")
}
