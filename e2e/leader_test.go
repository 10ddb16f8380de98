package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/tap"
)

// leaseKey is of the Lease that the candidates compete for.
var leaseKey = client.ObjectKey{Namespace: "mtls-injector", Name: "mtls-injector"}

// candidate is one of two instances. Its tap records all that it writes.
type candidate struct {
	*cluster.Webhook
	tap *tap.Tap
}

// candidates are two instances, of which one leads.
type candidates struct {
	*testing.T
	leader, standby candidate
	// registration is the name under which the API server calls one of them.
	registration string
}

// newCandidates starts two instances and waits until one of them leads.
func newCandidates(t *testing.T) *candidates {
	t.Helper()
	both := make([]candidate, 2)
	for i := range both {
		tapped, kubeconfig := startTap(t)
		both[i] = candidate{tap: tapped, Webhook: runWebhook(t, shared, cluster.WebhookOptions{
			Name: fmt.Sprintf("candidate-%d", i), Unregistered: i > 0, Kubeconfig: kubeconfig, Config: crashFolder + "/injector.yaml",
			Args: []string{"--leader-elect", "--leader-elect-namespace", leaseKey.Namespace},
		})}
	}
	c := &candidates{T: t, registration: both[0].Name}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, shared.WaitFor(ctx, "one of them to lead", func(ctx context.Context) error {
		first, err := leads(ctx, both[0])
		second, err2 := leads(ctx, both[1])
		switch {
		case err != nil || err2 != nil:
			return errors.Join(err, err2)
		case first == second:
			return fmt.Errorf("leading: %t and %t", first, second)
		case first:
			c.leader, c.standby = both[0], both[1]
		default:
			c.leader, c.standby = both[1], both[0]
		}
		return nil
	}))
	return c
}

// leads asks the instance itself.
func leads(ctx context.Context, c candidate) (bool, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.MetricsURL+"/metrics", nil)
	if err != nil {
		return false, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, err
	}
	text, err := io.ReadAll(response.Body)
	const metric = "\nleader_election_master_status{name=\"mtls-injector\"} "
	return strings.Contains(string(text), metric+"1\n"), errors.Join(err, response.Body.Close())
}

// holder reads the Lease.
func (c *candidates) holder() string {
	c.Helper()
	var lease coordinationv1.Lease
	require.NoError(c, shared.Client.Get(c.Context(), leaseKey, &lease))
	require.NotNil(c, lease.Spec.HolderIdentity)
	return *lease.Spec.HolderIdentity
}

// succession begins to watch the Lease. The returned function waits until another than
// the present holder has it, and returns all holders up to that one.
func (c *candidates) succession() func() []string {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	c.Cleanup(cancel)
	present := c.holder()
	watch, err := shared.Client.Watch(ctx, &coordinationv1.LeaseList{}, client.InNamespace(leaseKey.Namespace))
	require.NoError(c, err)
	c.Cleanup(watch.Stop)
	return func() (holders []string) {
		c.Helper()
		for event := range watch.ResultChan() {
			lease, ok := event.Object.(*coordinationv1.Lease)
			if !ok || lease.Name != leaseKey.Name || lease.Spec.HolderIdentity == nil {
				continue
			}
			now := *lease.Spec.HolderIdentity
			if len(holders) == 0 || holders[len(holders)-1] != now {
				holders = append(holders, now)
			}
			if now != "" && now != present {
				return holders
			}
		}
		c.Fatalf("nobody followed %s: %q", present, holders)
		return nil
	}
}

// calls makes the API server call this instance, and waits until it does.
func (c *candidates) calls(w candidate) {
	c.Helper()
	redirect(c.T, c.registration, w.Webhook)
	namespace := clustertest.Namespace(c, shared, nil)
	require.NoError(c, shared.WaitFor(c.Context(), w.Name+" to be called", func(ctx context.Context) error {
		before := total(c.T, w.Webhook)
		if err := shared.Client.Create(ctx, podWith(namespace, map[string]string{"role": "client"}), client.DryRunAll); err != nil {
			return err
		}
		if total(c.T, w.Webhook) == before {
			return errors.New("it is not")
		}
		return nil
	}))
}

// workload makes a Deployment in a namespace of its own, whose companion this instance
// has to write.
func (c *candidates) workload(writer candidate) {
	c.Helper()
	g := &stage{T: c.T, namespace: clustertest.Namespace(c, shared, nil)}
	g.apply("issuer.yaml")
	writer.tap.Record(g.namespace)
	g.apply("web.yaml")
	g.hasOneCompanion()
	assert.Contains(c, writer.tap.Steps(), tap.Step{Method: http.MethodPatch, Resource: "certificates.cert-manager.io", Name: companion, N: 1})
}

// TestOneInstanceLeads: all instances admit pods, and one of them writes.
func TestOneInstanceLeads(t *testing.T) {
	c := newCandidates(t)
	assert.NotEmpty(t, c.holder())
	for _, each := range []candidate{c.leader, c.standby} {
		c.calls(each)
		c.workload(c.leader)
		assert.Empty(t, c.standby.tap.Steps(), "what the standby has written since it began")
	}
	leading, err := leads(t.Context(), c.standby)
	require.NoError(t, err)
	assert.False(t, leading)
}

// TestStandbyTakesOver after a crash of the leader, when its Lease has run out.
func TestStandbyTakesOver(t *testing.T) {
	c := newCandidates(t)
	c.calls(c.standby)
	before, successor := c.holder(), c.succession()
	require.NoError(t, c.leader.Kill())
	assert.Empty(t, c.standby.tap.Steps())
	c.workload(c.standby) // which waits for it to lead
	holders := successor()
	require.Len(t, holders, 2, "nobody gave the Lease up: %q", holders)
	assert.Equal(t, before, holders[0])
	assert.Equal(t, holders[1], c.holder())
}

// TestLeaderHandsOver: told to stop, the leader gives its Lease up, so that the standby
// need not wait for it to run out.
func TestLeaderHandsOver(t *testing.T) {
	c := newCandidates(t)
	c.calls(c.standby)
	before, successor := c.holder(), c.succession()
	require.NoError(t, syscall.Kill(c.leader.PID, syscall.SIGTERM))
	holders := successor()
	require.Len(t, holders, 3, "holders: %q", holders)
	assert.Equal(t, []string{before, ""}, holders[:2], "it was given up")
	waitForEnd(t, c.leader.Webhook)
	c.workload(c.standby)
	assert.Equal(t, holders[2], c.holder())
}
