package intent_test

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/intent"
)

// The rules of the design, written without a look at how they are kept.

func (c *cluster) check(t *testing.T, result *intent.Result) {
	t.Helper()
	outcomes := 0
	for _, set := range []bool{result.Intent != nil, result.Skip != "", len(result.Errors) > 0} {
		if set {
			outcomes++
		}
	}
	require.Equal(t, 1, outcomes, "exactly one of Intent, Skip and Errors: %+v", result)
	for _, warning := range result.Warnings {
		assertShort(t, warning)
	}
	switch {
	case result.Skip != "":
		c.checkSkip(t, result.Skip)
	case result.Intent != nil:
		c.checkIntent(t, result.Intent)
	default:
		for _, err := range result.Errors {
			assertShort(t, err.Error())
			assert.Regexp(t, `^((namespace\.)?metadata\.annotations(\[mtls\.example\.io/.*\])?|spec\.serviceAccountName)$`, err.Field)
		}
	}
}

func (c *cluster) checkSkip(t *testing.T, skip intent.SkipReason) {
	t.Helper()
	role, onPod := c.pod.Metadata.Annotations["mtls.example.io/role"]
	if !onPod {
		role = c.namespace.Annotations["mtls.example.io/role"]
	}
	switch skip {
	case intent.SkipNoRole:
		assert.Empty(t, role)
	case intent.SkipRoleNone:
		assert.Equal(t, "none", role)
	case intent.SkipWindows:
		assert.Equal(t, "windows", string(c.pod.Spec.OS.Name))
	case intent.SkipMirrorPod:
		assert.Contains(t, c.pod.Metadata.Annotations, "kubernetes.io/config.mirror")
	default:
		t.Errorf("unknown reason %q", skip)
	}
}

func (c *cluster) checkIntent(t *testing.T, in *intent.Intent) {
	t.Helper()
	assert.Contains(t, []intent.Role{"server", "client", "both"}, in.Role)
	assert.Equal(t, c.namespace.Name, in.Namespace)
	c.checkIdentity(t, &in.Identity)
	if in.Role == "client" && !c.asksFor("dns-names") {
		assert.Empty(t, in.Identity.DNSNames, "a client serves nobody")
		assert.Empty(t, in.Identity.PerPodDomains)
	}

	life := in.Lifetime
	assert.Less(t, life.RenewBefore, life.Duration)
	assert.GreaterOrEqual(t, life.RenewBefore, 5*time.Minute)
	assert.GreaterOrEqual(t, life.Duration, time.Hour)
	assert.LessOrEqual(t, life.Duration, 365*24*time.Hour)
	sizes := map[string][]int{"RSA": {2048, 3072, 4096}, "ECDSA": {256, 384, 521}, "Ed25519": {0}}
	assert.Contains(t, sizes[string(in.Key.Algorithm)], in.Key.Size)

	retail := c.namespace.Labels["team"] == "retail"
	own := in.Issuer == intent.Issuer{Name: "mtls-ca", Kind: "ClusterIssuer", Group: "cert-manager.io"}
	granted := retail && regexp.MustCompile(`^team.+`).MatchString(in.Issuer.Name) && in.Issuer.Kind == "ClusterIssuer" && in.Issuer.Group == "cert-manager.io"
	assert.True(t, own || granted, "issuer %v", in.Issuer)

	assert.False(t, in.Delivery == "secret" && !in.Companion, "nobody would make the Secret")
	assert.False(t, in.Reload == "restart" && !in.Companion, "nothing would ever restart it")
	assert.Equal(t, in.Reload == "signal", in.Agent != nil && in.Agent.Reload != (intent.AgentReload{}), "who reloads what")
	if a := in.Agent; a != nil && a.Reload.Signal != "" {
		assert.Contains(t, c.users(a.Reload.Container), a.User, "no other user may signal it")
	}
	assert.NotContains(t, in.Env, intent.EnvNone)
	assert.LessOrEqual(t, len(in.CompanionName), 253)
	assert.Regexp(t, subdomain, in.CompanionName)

	shown := *in
	shown.Workload = intent.Workload{} // an owner reference, as somebody wrote it
	checkStrings(t, "Intent", reflect.ValueOf(shown))
}

// users returns as whom a container may run.
func (c *cluster) users(container string) []int64 {
	for _, candidate := range c.pod.Spec.Containers {
		if own := candidate.SecurityContext; candidate.Name == container && own != nil && own.RunAsUser != nil {
			return []int64{*own.RunAsUser}
		}
	}
	if sc := c.pod.Spec.SecurityContext; sc != nil && sc.RunAsUser != nil {
		return []int64{*sc.RunAsUser}
	}
	return nil
}

var subdomain = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

func (c *cluster) asksFor(key string) bool {
	_, asks := c.pod.Metadata.Annotations["mtls.example.io/"+key]
	return asks
}

func (c *cluster) checkIdentity(t *testing.T, id *intent.Identity) {
	t.Helper()
	account := c.pod.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	assert.Equal(t, strings.Join([]string{"spiffe:/", "cluster.local", "ns", c.namespace.Name, "sa", account}, "/"), id.SPIFFEID)

	mine, headless := c.ownNames()
	retail := c.namespace.Labels["team"] == "retail"
	grant := regexp.MustCompile(`^(example\.org|(\*|[a-z0-9-]+)\.example\.com)$`)
	for _, name := range id.DNSNames {
		assert.True(t, slices.Contains(mine, name) || retail && grant.MatchString(name), "%q is not the pod's; those are %q", name, mine)
	}
	for _, domain := range id.PerPodDomains {
		assert.Contains(t, headless, domain)
	}
	assert.Len(t, slices.Compact(slices.Sorted(slices.Values(id.DNSNames))), len(id.DNSNames), "no name twice in %q", id.DNSNames)

	common := id.Subject.CommonName
	assert.LessOrEqual(t, len(common), 64)
	assert.True(t, common == "" || slices.Contains(id.DNSNames, common) || retail && common == "Shop Web", "common name %q", common)
	for _, text := range slices.Concat(id.Subject.Organizations, id.Subject.OrganizationalUnits) {
		assert.NotEmpty(t, strings.TrimSpace(text))
		assert.LessOrEqual(t, len(text), 64)
	}
}

// ownNames returns the names of the Services that select the pod, those of the workload
// unless a Service of its name does not select the pod, and the full names of headless ones.
func (c *cluster) ownNames() (mine, headless []string) {
	workload := c.workloadName()
	taken := strings.Contains(workload, ".")
	for _, svc := range c.services {
		if !c.selects(svc) {
			taken = taken || svc.Name == workload
			continue
		}
		mine = append(mine, c.forms(svc.Name)...)
		if svc.Headless {
			headless = append(headless, svc.Name+"."+c.namespace.Name+".svc.cluster.local")
		}
	}
	if !taken {
		mine = append(mine, c.forms(workload)...)
	}
	return mine, headless
}

func (c *cluster) forms(name string) []string {
	out := []string{name}
	for _, part := range []string{c.namespace.Name, "svc", "cluster.local"} {
		name += "." + part
		out = append(out, name)
	}
	return out
}

func (c *cluster) selects(svc intent.Service) bool {
	matching := 0
	for label, value := range c.pod.Metadata.Labels {
		if wanted, ok := svc.Selector[label]; ok && wanted == value {
			matching++
		}
	}
	return matching > 0 && matching == len(svc.Selector)
}

var cronJob = regexp.MustCompile(`^(.+)-[2-9][0-9]{7}$`)

// workloadName knows the names that newCluster makes, and no others.
func (c *cluster) workloadName() string {
	meta := &c.pod.Metadata
	for _, owner := range meta.OwnerReferences {
		switch {
		case !owner.Controller:
			continue
		case owner.APIVersion == "apps/v1" && owner.Kind == "ReplicaSet":
			for _, label := range []string{"pod-template-hash", "rollouts-pod-template-hash"} {
				hash := meta.Labels[label]
				if hash != "" && strings.HasSuffix(owner.Name, "-"+hash) && owner.Name != "-"+hash {
					return owner.Name[:len(owner.Name)-len(hash)-1]
				}
			}
		case owner.APIVersion == "batch/v1" && owner.Kind == "Job":
			if parts := cronJob.FindStringSubmatch(owner.Name); parts != nil {
				return parts[1]
			}
		}
		return owner.Name
	}
	if meta.GenerateName != "" {
		return strings.Trim(meta.GenerateName, "-")
	}
	return meta.Name
}

// checkStrings walks through everything that is written: into the driver's lists, where
// a comma separates and a dollar begins a variable, and into files, where lines end.
func checkStrings(t *testing.T, at string, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		text := v.String()
		bad := func(r rune) bool { return r == ',' || r == '$' || unicode.IsControl(r) }
		assert.False(t, strings.ContainsFunc(text, bad) || !utf8.ValidString(text), "%s: %q", at, text)
	case reflect.Struct:
		for field, value := range v.Fields() {
			checkStrings(t, at+"."+field.Name, value)
		}
	case reflect.Slice:
		for i := range v.Len() {
			checkStrings(t, at, v.Index(i))
		}
	}
}
