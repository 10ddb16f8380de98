package charttest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
)

const (
	clusterRole    = "ClusterRole"
	role           = "Role"
	leaderElection = Release + "-leader-election"
	smokeTest      = Release + "-smoke-test"
)

// TestRights: the rights are those of which every one is proved to be needed, and no others.
func TestRights(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chart.Dir, "..", "..", "e2e", "cluster", "rbac.yaml"))
	require.NoError(t, err)
	proved, err := decode(string(text))
	require.NoError(t, err)
	objects := template(t)
	assert.Equal(t, must[rbacv1.ClusterRole](t, proved, clusterRole, Release).Rules, must[rbacv1.ClusterRole](t, objects, clusterRole, Release).Rules)
	assert.Equal(t, must[rbacv1.Role](t, proved, role, leaderElection).Rules, must[rbacv1.Role](t, objects, role, leaderElection).Rules)

	account := []rbacv1.Subject{{Kind: "ServiceAccount", Name: Release, Namespace: Namespace}}
	bound := map[string]int{}
	for _, object := range objects {
		switch object.GetKind() {
		case "ClusterRoleBinding":
			binding, err := Into[rbacv1.ClusterRoleBinding](object)
			require.NoError(t, err)
			if binding.Name == smokeTest {
				continue
			}
			assert.Equal(t, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: clusterRole, Name: Release}, binding.RoleRef)
			assert.Equal(t, account, binding.Subjects)
			bound[binding.Name]++
		case "RoleBinding":
			binding, err := Into[rbacv1.RoleBinding](object)
			require.NoError(t, err)
			if binding.Namespace != Namespace {
				continue // the smoke test's own
			}
			assert.Equal(t, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: role, Name: leaderElection}, binding.RoleRef)
			assert.Equal(t, account, binding.Subjects)
			bound[binding.Name]++
		}
	}
	assert.Equal(t, map[string]int{Release: 1, leaderElection: 1}, bound)
}

// TestRightsByValues: what a value adds to the rights, or takes away.
func TestRightsByValues(t *testing.T) {
	rules := must[rbacv1.ClusterRole](t, template(t), clusterRole, Release).Rules
	const own = Release + "-webhook-ca"

	t.Run("another bundle", func(t *testing.T) {
		got := must[rbacv1.ClusterRole](t, template(t, set("config.caBundle.name=trust")...), clusterRole, Release).Rules
		want := append([]rbacv1.PolicyRule(nil), rules...)
		for i := range want {
			if want[i].ResourceNames != nil {
				want[i].ResourceNames = []string{"trust"}
			}
		}
		assert.Equal(t, want, got)
	})
	t.Run("no ConfigMap", func(t *testing.T) {
		got := must[rbacv1.ClusterRole](t, template(t, set("config.caBundle.kind=ClusterTrustBundle", "trust.bundle.create=false")...), clusterRole, Release).Rules
		assert.Len(t, got, len(rules)-1)
		for _, rule := range got {
			assert.NotContains(t, rule.Resources, "configmaps")
		}
	})
	t.Run("self-managed", func(t *testing.T) {
		objects := template(t, set("webhook.certificate.mode=selfManaged")...)
		got := must[rbacv1.ClusterRole](t, objects, clusterRole, Release).Rules
		assert.Equal(t, append(rules, rbacv1.PolicyRule{
			APIGroups:     []string{"admissionregistration.k8s.io"},
			Resources:     []string{"mutatingwebhookconfigurations", "validatingwebhookconfigurations"},
			ResourceNames: []string{Release}, Verbs: []string{"get", "list", "watch", "patch"},
		}), got)
		assert.Equal(t, []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}},
			{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{own}, Verbs: []string{"get", "list", "watch", "update"}},
		}, must[rbacv1.Role](t, objects, role, own).Rules)
		assert.Equal(t, own, must[rbacv1.RoleBinding](t, objects, "RoleBinding", own).RoleRef.Name)
	})
	t.Run("none", func(t *testing.T) {
		for _, object := range template(t, set("rbac.create=false", "tests.enabled=false")...) {
			assert.NotEqual(t, "rbac.authorization.k8s.io", object.GroupVersionKind().Group, object.GetName())
		}
	})
	t.Run("an account that is there", func(t *testing.T) {
		objects := template(t, set("serviceAccount.create=false", "serviceAccount.name=mine")...)
		assert.Nil(t, Find(objects, "ServiceAccount", "mine"))
		assert.Equal(t, "mine", must[rbacv1.ClusterRoleBinding](t, objects, "ClusterRoleBinding", Release).Subjects[0].Name)
		assert.Equal(t, "mine", deploymentOf(t, objects).Spec.Template.Spec.ServiceAccountName)
	})
}

// TestRightsOfTheSmokeTest: it may make pods in its own namespace, see what is in the way of
// their injection, and nothing else.
func TestRightsOfTheSmokeTest(t *testing.T) {
	objects := template(t)
	got := must[rbacv1.Role](t, objects, role, smokeTest)
	assert.Equal(t, smokeTest, got.Namespace)
	assert.Equal(t, []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"create"}},
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"get"}},
	}, got.Rules)
	assert.Equal(t, []rbacv1.PolicyRule{
		{APIGroups: []string{"admissionregistration.k8s.io"}, Resources: []string{"mutatingwebhookconfigurations"}, Verbs: []string{"list"}},
	}, must[rbacv1.ClusterRole](t, objects, clusterRole, smokeTest).Rules)
	account := []rbacv1.Subject{{Kind: "ServiceAccount", Name: smokeTest, Namespace: Namespace}}
	assert.Equal(t, account, must[rbacv1.RoleBinding](t, objects, "RoleBinding", smokeTest).Subjects)
	assert.Equal(t, account, must[rbacv1.ClusterRoleBinding](t, objects, "ClusterRoleBinding", smokeTest).Subjects)
}
