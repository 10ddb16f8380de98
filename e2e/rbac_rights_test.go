package e2e

// What the injector may do, right by right, and how one is taken away.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
)

// injectorUser is the injector's name in rbac.yaml.
const injectorUser = "mtls-injector"

// right is one thing that a role allows: the smallest that can be taken away.
type right struct {
	verb, group, resource string
	// name is that of the only object that it is for, if the rule says so.
	name string
	// namespace is the Role's; empty for a ClusterRole, which is for all of them.
	namespace string
	// role is where it comes from, and rule the index of the rule there.
	role string
	rule int
}

// String gives the right as in "get deployments.apps", "get configmaps/mtls-ca-bundle" or
// "update leases.coordination.k8s.io in mtls-injector".
func (r right) String() string {
	text := r.verb + " " + r.resource
	if r.group != "" {
		text += "." + r.group
	}
	if r.name != "" {
		text += "/" + r.name
	}
	if r.namespace != "" {
		text += " in " + r.namespace
	}
	return text
}

// refusal is what the API server says to somebody who lacks the right.
func (r right) refusal() string {
	return fmt.Sprintf(`User "%s" cannot %s resource "%s" in API group "%s"`, injectorUser, r.verb, r.resource, r.group)
}

// source says where in rbac.yaml it comes from.
func (r right) source() string { return fmt.Sprintf("%s, rules[%d]", r.role, r.rule) }

// alone is the rule that grants this right alone.
func (r right) alone() rbacv1.PolicyRule {
	rule := rbacv1.PolicyRule{Verbs: []string{r.verb}, APIGroups: []string{r.group}, Resources: []string{r.resource}}
	if r.name != "" {
		rule.ResourceNames = []string{r.name}
	}
	return rule
}

// rightsOf takes a role's rules apart.
func rightsOf(t *testing.T, role client.ObjectKey, rules []rbacv1.PolicyRule) []right {
	t.Helper()
	var rights []right
	for i, rule := range rules {
		require.Empty(t, rule.NonResourceURLs, "of %s", role)
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					for _, name := range names {
						rights = append(rights, right{verb, group, resource, name, role.Namespace, role.Name, i})
					}
				}
			}
		}
	}
	for i, r := range rights {
		require.NotContains(t, []string{r.verb, r.group, r.resource}, "*", "%s of %s", r, role)
		again := func(other right) bool { return other.String() == r.String() }
		require.False(t, slices.ContainsFunc(rights[:i], again), "%s is twice in %s", r, role)
	}
	return rights
}

// granted returns all that is granted to the injector, by whatever role.
func granted(t *testing.T, c *cluster.Cluster) []right {
	t.Helper()
	var everywhere rbacv1.ClusterRoleBindingList
	var somewhere rbacv1.RoleBindingList
	require.NoError(t, errors.Join(c.Client.List(t.Context(), &everywhere), c.Client.List(t.Context(), &somewhere)))
	isInjector := func(s rbacv1.Subject) bool { return s.Kind == rbacv1.UserKind && s.Name == injectorUser }
	var rights []right
	for _, binding := range everywhere.Items {
		if slices.ContainsFunc(binding.Subjects, isInjector) {
			role := client.ObjectKey{Name: binding.RoleRef.Name}
			rights = append(rights, rightsOf(t, role, *rulesOf(t.Context(), t, c, role).rules)...)
		}
	}
	for _, binding := range somewhere.Items {
		if slices.ContainsFunc(binding.Subjects, isInjector) {
			require.Equal(t, "Role", binding.RoleRef.Kind)
			role := client.ObjectKey{Namespace: binding.Namespace, Name: binding.RoleRef.Name}
			rights = append(rights, rightsOf(t, role, *rulesOf(t.Context(), t, c, role).rules)...)
		}
	}
	return rights
}

// role is a Role or ClusterRole, and its rules.
type role struct {
	client.Object
	rules *[]rbacv1.PolicyRule
}

// rulesOf reads a Role, or without a namespace a ClusterRole.
func rulesOf(ctx context.Context, t *testing.T, c *cluster.Cluster, key client.ObjectKey) role {
	t.Helper()
	var found role
	if key.Namespace == "" {
		object := &rbacv1.ClusterRole{}
		found = role{object, &object.Rules}
	} else {
		object := &rbacv1.Role{}
		found = role{object, &object.Rules}
	}
	require.NoError(t, c.Client.Get(ctx, key, found.Object))
	return found
}

// takeAway takes one right away, all others stay. It returns when the API server heeds it;
// so does the function that gives the right back.
func takeAway(t *testing.T, c *cluster.Cluster, r right) (giveBack func()) {
	t.Helper()
	key := client.ObjectKey{Namespace: r.namespace, Name: r.role}
	ctx := context.WithoutCancel(t.Context()) // it is given back when the test has ended, too
	write := func(rules []rbacv1.PolicyRule, allowed bool) {
		t.Helper()
		found := rulesOf(ctx, t, c, key)
		*found.rules = rules
		require.NoError(t, c.Client.Update(ctx, found.Object))
		require.NoError(t, c.WaitFor(ctx, fmt.Sprintf("%s to be %t", r, allowed), func(ctx context.Context) error {
			return heeds(ctx, c, r, allowed)
		}))
	}
	before := *rulesOf(ctx, t, c, key).rules
	var rest []rbacv1.PolicyRule
	for _, other := range rightsOf(t, key, before) {
		if other != r {
			rest = append(rest, other.alone())
		}
	}
	write(rest, false)
	return func() {
		t.Helper()
		write(before, true)
	}
}

// heeds asks the API server whether the injector has the right.
func heeds(ctx context.Context, c *cluster.Cluster, r right, allowed bool) error {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: injectorUser, Groups: []string{"system:authenticated"},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: r.verb, Group: r.group, Resource: r.resource, Name: r.name, Namespace: r.namespace,
		},
	}}
	if err := c.Client.Create(ctx, review); err != nil {
		return err
	}
	if review.Status.Allowed != allowed {
		return fmt.Errorf("allowed: %t, because %q", review.Status.Allowed, review.Status.Reason)
	}
	return nil
}
