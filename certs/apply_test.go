package certs

import (
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestIsOurs(t *testing.T) {
	deployment, replicaSet := controlledBy("apps/v1", "Deployment", "web"), controlledBy("apps/v1", "ReplicaSet", "web-5d9")
	pod := metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: "web-x1", UID: "u"}
	ours := map[string]string{LabelManagedBy: ManagedBy}
	for name, test := range map[string]struct {
		labels   map[string]string
		owner    *metav1.OwnerReference
		chain    chain
		workload string
		want     bool
	}{
		"the deployment's":                {ours, &deployment, chain{replicaSet, deployment}, "web", true},
		"nobody's":                        {ours, nil, chain{replicaSet, deployment}, "web", true},
		"made by hand":                    {nil, nil, chain{replicaSet, deployment}, "web", false},
		"made by another tool":            {map[string]string{LabelManagedBy: "Helm"}, &deployment, chain{replicaSet, deployment}, "web", false},
		"ours, but another workload's":    {ours, new(controlledBy("apps/v1", "Deployment", "other")), chain{replicaSet, deployment}, "web", false},
		"ours, but another kind's":        {ours, new(controlledBy("apps/v1", "StatefulSet", "web")), chain{replicaSet, deployment}, "web", false},
		"ours, but another group's":       {ours, new(controlledBy("example.org/v1", "Deployment", "web")), chain{replicaSet, deployment}, "web", false},
		"a former version's":              {ours, new(controlledBy("apps/v1beta2", "Deployment", "web")), chain{replicaSet, deployment}, "web", true},
		"an orphan since adopted":         {ours, &replicaSet, chain{replicaSet, deployment}, "web", true},
		"a namesake's":                    {ours, &metav1.OwnerReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web", UID: "former", Controller: new(true)}, chain{replicaSet, deployment}, "web", true},
		"the same bare pod's":             {ours, new(controlledBy("v1", "Pod", "web-x1")), chain{pod}, "web-x1", true},
		"another bare pod's":              {ours, new(controlledBy("v1", "Pod", "web-x2")), chain{pod}, "web-x1", false},
		"a bare pod's of the same prefix": {ours, new(controlledBy("v1", "Pod", "web-x2")), chain{pod}, "web", true},
	} {
		t.Run(name, func(t *testing.T) {
			live := &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Labels: test.labels}}
			if test.owner != nil {
				live.OwnerReferences = []metav1.OwnerReference{*test.owner}
			}
			assert.Equal(t, test.want, isOurs(live, test.chain, test.workload))
		})
	}
}

func TestApplyConfigurationSendsOnlyWhatIsSet(t *testing.T) {
	cert := Desired(resolved(t, deployed("web-5d9-a", "5d9", map[string]string{"role": "client", "key-algorithm": "Ed25519"})))
	cert.Status.Revision = new(7)
	apply, err := applyConfiguration(cert)
	require.NoError(t, err)
	assert.Nil(t, apply.Status)
	assert.Nil(t, apply.CreationTimestamp)
	assert.Nil(t, apply.Spec.CommonName)
	assert.Nil(t, apply.Spec.Subject)
	assert.Nil(t, apply.Spec.PrivateKey.Size)
	assert.Empty(t, apply.Spec.DNSNames)
}

// TestIsCurrent writes the companion, lets somebody change it, and asks.
func TestIsCurrent(t *testing.T) {
	const other = client.FieldOwner("kubectl-edit")
	desired := func() *cmapi.Certificate {
		cert := Desired(resolved(t, deployed("web-5d9-a", "5d9", map[string]string{"role": "server"})))
		cert.OwnerReferences = []metav1.OwnerReference{ownerReference(controlledBy("apps/v1", "Deployment", "web"))}
		return cert
	}
	for name, test := range map[string]struct {
		live, wanted func(c *cmapi.Certificate)
		want         bool
	}{
		"as it is":               {want: true},
		"status":                 {live: func(c *cmapi.Certificate) { c.Status.Revision = new(1) }, want: true},
		"somebody's annotation":  {live: func(c *cmapi.Certificate) { c.Annotations["note"] = "x" }, want: true},
		"somebody's extra field": {live: func(c *cmapi.Certificate) { c.Spec.EncodeUsagesInRequest = new(true) }, want: true},
		"somebody's owner": {live: func(c *cmapi.Certificate) {
			c.OwnerReferences = append(c.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "x"})
		}, want: true},
		"duration changed":      {live: func(c *cmapi.Certificate) { c.Spec.Duration.Duration = time.Hour }},
		"names changed":         {live: func(c *cmapi.Certificate) { c.Spec.DNSNames = []string{"evil"} }},
		"label changed":         {live: func(c *cmapi.Certificate) { c.Labels[LabelRole] = "client" }},
		"label removed":         {live: func(c *cmapi.Certificate) { delete(c.Labels, LabelCertType) }},
		"usages removed":        {live: func(c *cmapi.Certificate) { c.Spec.Usages = nil }},
		"owner removed":         {live: func(c *cmapi.Certificate) { c.OwnerReferences = nil }},
		"new name wanted":       {wanted: func(c *cmapi.Certificate) { c.Spec.DNSNames = append(c.Spec.DNSNames, "new") }},
		"common name unwanted":  {wanted: func(c *cmapi.Certificate) { c.Spec.CommonName = "" }},
		"names unwanted":        {wanted: func(c *cmapi.Certificate) { c.Spec.DNSNames = nil }},
		"owner of another UID":  {wanted: func(c *cmapi.Certificate) { c.OwnerReferences[0].UID = "new" }},
		"another role's labels": {wanted: func(c *cmapi.Certificate) { c.Spec.SecretTemplate.Labels[LabelRole] = "both" }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := &reconciler{cached: w, live: w, metrics: noMetrics(t)}
			first, err := applyConfiguration(desired())
			require.NoError(t, err)
			require.NoError(t, r.write(t.Context(), nil, first))
			live := &cmapi.Certificate{}
			key := client.ObjectKey{Namespace: namespace, Name: "web-mtls"}
			require.NoError(t, w.Get(t.Context(), key, live))
			if test.live != nil {
				test.live(live)
				require.NoError(t, w.Update(t.Context(), live, other))
				require.NoError(t, w.Get(t.Context(), key, live))
			}
			wanted := desired()
			if test.wanted != nil {
				test.wanted(wanted)
			}
			apply, err := applyConfiguration(wanted)
			require.NoError(t, err)
			slim, err := slimCertificate(live)
			require.NoError(t, err)
			kept, ok := slim.(*cmapi.Certificate)
			require.True(t, ok)
			got, err := isCurrent(kept, apply)
			require.NoError(t, err)
			assert.Equal(t, test.want, got)

			// Whatever the difference was, one write settles it.
			require.NoError(t, r.write(t.Context(), live, apply))
			require.NoError(t, w.Get(t.Context(), key, live))
			again, err := applyConfiguration(wanted)
			require.NoError(t, err)
			settled, err := isCurrent(live, again)
			require.NoError(t, err)
			assert.True(t, settled, "the second look would write again")
		})
	}
}

func TestIsCurrentNamesTheCertificate(t *testing.T) {
	live := &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Name: "web-mtls", ManagedFields: []metav1.ManagedFieldsEntry{{
		Manager: FieldManager, Operation: metav1.ManagedFieldsOperationApply, FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"x:y":{}}`),
	}}}}
	_, err := isCurrent(live, nil)
	require.ErrorContains(t, err, "managed fields of Certificate web-mtls: ")
}
