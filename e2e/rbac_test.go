package e2e

// The injector has the rights that it needs, and no others.

import (
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRBAC has the injector do all that it can do. Then, what was granted has been used, and
// nothing refused; and without any single right, something does not come about. A right
// that is new in rbac.yaml needs an entry in rbacNeeds, with a use that fails without it.
func TestRBAC(t *testing.T) {
	s := newRBACScene(t)
	uses, needs := rbacUses(), rbacNeeds()
	t.Run("table", func(t *testing.T) { checkNeeds(t, s, uses, needs) })
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		t.Run("with all rights/"+name, func(t *testing.T) {
			u := uses[name](t, s)
			u.act()
			require.NoError(t, s.WaitFor(t.Context(), name, u.works))
		})
	}
	t.Run("used", func(t *testing.T) { checkUsed(t, s.Cluster) })
	for _, r := range granted(t, s.Cluster) {
		for _, name := range needs[r.String()] {
			t.Run("without "+r.String()+"/"+name, func(t *testing.T) { s.without(t, r, uses[name]) })
		}
	}
}

// checkNeeds compares the table with what is granted.
func checkNeeds(t *testing.T, s *rbacScene, uses map[string]useMaker, needs map[string][]string) {
	t.Helper()
	var rights []string
	for _, r := range granted(t, s.Cluster) {
		rights = append(rights, r.String())
		assert.NotEmpty(t, needs[r.String()], "%s is granted by %s, and no test shows what for", r, r.source())
	}
	for r, names := range needs {
		assert.Contains(t, rights, r, "is in the table, and not granted")
		for _, name := range names {
			assert.Contains(t, uses, name, "of %s", r)
		}
	}
}

// without has the injector use the right when it has not got it, and gives it back.
func (s *rbacScene) without(t *testing.T, r right, prepare useMaker) {
	t.Helper()
	u := prepare(t, s)
	logged, audited := size(t, s.logFile), size(t, s.AuditLog)
	giveBack := takeAway(t, s.Cluster, r)
	t.Cleanup(func() { // whatever comes between
		if heeds(context.Background(), s.Cluster, r, true) != nil {
			giveBack()
		}
	})
	u.act()
	require.NoError(t, s.WaitFor(t.Context(), "a refusal", func(context.Context) error {
		if u.silent {
			return s.isRefused(t, audited, r)
		}
		return s.logs(logged, r.refusal())
	}))
	assert.Error(t, u.works(t.Context()), "it works without %s", r)
	giveBack()
	if u.once {
		u.act()
	}
	require.NoError(t, s.WaitFor(t.Context(), "it to work with the right", u.works))
}
