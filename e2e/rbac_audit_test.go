package e2e

// What the injector has asked for, as the API server's audit log has it.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/e2e/cluster"
)

// rbacAuditPolicy records all that the injector asks for; a watch when it begins, too.
const rbacAuditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: [` + injectorUser + `]
- level: None
`

// asking is one request of the injector, of those parts that matter here.
type asking struct {
	Verb, RequestURI string
	ObjectRef        *struct{ APIGroup, Resource, Subresource, Namespace, Name string }
	ResponseStatus   struct{ Code int }
}

// askings returns the requests that have been answered, or begun to be, from a place in the
// log on.
func askings(t *testing.T, c *cluster.Cluster, from int64) []asking {
	t.Helper()
	data, err := os.ReadFile(c.AuditLog)
	require.NoError(t, err)
	var all []asking
	for line := range bytes.Lines(data[from:]) {
		var one asking
		// The last line may be half written: then it counts for the next time.
		if json.Unmarshal(line, &one) == nil {
			all = append(all, one)
		}
	}
	return all
}

// size is how long a file is now.
func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if os.IsNotExist(err) {
		return 0
	}
	require.NoError(t, err)
	return info.Size()
}

// is reports whether the request is one for which one needs the right.
func (a *asking) is(r right) bool {
	o := a.ObjectRef
	if o == nil || r.group != o.APIGroup || r.resource != a.resource() || r.name != "" && r.name != o.Name {
		return false
	}
	return (r.namespace == "" || r.namespace == o.Namespace) && slices.Contains(a.verbs(), r.verb)
}

// isAnswered reports whether something came of the request. A watch that is to begin with
// the list is refused as invalid by an API server that cannot stream lists.
func (a *asking) isAnswered() bool {
	code := a.ResponseStatus.Code
	return code < http.StatusBadRequest || code == http.StatusNotFound || code == http.StatusConflict
}

func (a *asking) resource() string {
	if a.ObjectRef.Subresource != "" {
		return a.ObjectRef.Resource + "/" + a.ObjectRef.Subresource
	}
	return a.ObjectRef.Resource
}

// verbs are those that one has to have a right to. An apply that makes the object has to be
// a create as well, and is not recorded as one.
func (a *asking) verbs() []string {
	if a.Verb == "patch" && a.ResponseStatus.Code == http.StatusCreated {
		return []string{"patch", "create"}
	}
	return []string{a.Verb}
}

// count counts the requests that took the right. One that is granted everywhere has to be
// taken somewhere else than where the injector runs.
func count(all []asking, r right) int {
	n := 0
	for i := range all {
		a := &all[i]
		if a.is(r) && a.isAnswered() && (r.namespace != "" || a.ObjectRef.Namespace != leaseKey.Namespace) {
			n++
		}
	}
	return n
}

// isRefused is an error until a request that needs the right has been refused, from a place
// in the log on.
func (s *rbacScene) isRefused(t *testing.T, from int64, r right) error {
	t.Helper()
	for _, a := range askings(t, s.Cluster, from) {
		if a.is(r) && a.ResponseStatus.Code == http.StatusForbidden {
			return nil
		}
	}
	return fmt.Errorf("nobody was refused to %s", r)
}

// checkUsed compares what was asked for with what is granted.
func checkUsed(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	all, rights := askings(t, c, 0), granted(t, c)
	require.NotEmpty(t, rights)
	for _, r := range rights {
		assert.Positive(t, count(all, r), "%s is granted by %s, and not used", r, r.source())
	}
	for i := range all {
		a := &all[i]
		switch isGranted := slices.ContainsFunc(rights, a.is); {
		case a.ResponseStatus.Code == http.StatusForbidden:
			t.Errorf("refused: %s %s", a.Verb, a.RequestURI)
		case a.ObjectRef == nil:
			isDiscovery := strings.HasPrefix(a.RequestURI, "/api") || a.RequestURI == "/version" || strings.HasPrefix(a.RequestURI, "/version?")
			assert.True(t, isDiscovery, "%s %s is no discovery", a.Verb, a.RequestURI)
		default:
			assert.True(t, isGranted, "allowed, and not by rbac.yaml: %s %s", a.Verb, a.RequestURI)
		}
	}
	t.Logf("%d requests took %d rights", len(all), len(rights))
}
