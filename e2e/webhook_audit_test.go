package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
)

const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create]
  resources: [{group: "", resources: [pods]}]
- level: None
`

// TestWebhookOnAnotherCluster needs an API server with other flags: one that keeps an
// audit log and knows ClusterTrustBundles, which are not on by default.
func TestWebhookOnAnotherCluster(t *testing.T) {
	c := clustertest.New(t, cluster.Options{
		AuditPolicy: []byte(auditPolicy),
		ExtraAPIServerArgs: map[string][]string{
			"feature-gates":  {"ClusterTrustBundle=true,ClusterTrustBundleProjection=true"},
			"runtime-config": {"certificates.k8s.io/v1beta1/clustertrustbundles=true"},
		},
	})
	runWebhook(t, c, cluster.WebhookOptions{})
	namespace := clustertest.Namespace(t, c, nil)
	t.Run("audit annotations", func(t *testing.T) { checkAudit(t, c, namespace) })
	t.Run("ClusterTrustBundle", func(t *testing.T) { checkTrustBundle(t, c, namespace) })
}

func checkAudit(t *testing.T, c *cluster.Cluster, namespace string) {
	t.Helper()
	cases := map[string]struct {
		annotations, want map[string]string
	}{
		"injected": {map[string]string{"role": "client"}, map[string]string{
			"outcome": "injected", "role": "client", "issuer": "ClusterIssuer/mtls-ca",
			"identity": "spiffe://cluster.local/ns/" + namespace + "/sa/default",
		}},
		"skipped": {map[string]string{"role": "none"}, map[string]string{"outcome": "skipped", "skip-reason": "role-none"}},
		"refused": {map[string]string{"role": "chief"}, map[string]string{"outcome": "refused"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pod := podWith(namespace, tc.annotations)
			pod.Name = "audited-" + name
			err := c.Client.Create(t.Context(), pod)
			assert.Equal(t, name == "refused", err != nil)
			var got map[string]string
			require.NoError(t, c.WaitFor(t.Context(), "the audit event", func(context.Context) (err error) {
				got, err = auditAnnotations(c.AuditLog, pod.Name)
				return err
			}))
			assert.Equal(t, tc.want, got)
		})
	}
}

// auditAnnotations returns what the webhook had written to the audit event of a pod's
// creation, without the webhook's name before each key.
func auditAnnotations(log, pod string) (map[string]string, error) {
	data, err := os.ReadFile(log)
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(data) {
		var event struct {
			ObjectRef   struct{ Name string }
			Annotations map[string]string
		}
		// The last line may be half written: then the event comes later.
		if json.Unmarshal(line, &event) != nil || event.ObjectRef.Name != pod {
			continue
		}
		ours := map[string]string{}
		for key, value := range event.Annotations {
			if short, ok := strings.CutPrefix(key, "pods.mtls-injector.example.io/"); ok {
				ours[short] = value
			}
		}
		return ours, nil
	}
	return nil, fmt.Errorf("nothing of %s among %d bytes", pod, len(data))
}

func checkTrustBundle(t *testing.T, c *cluster.Cluster, namespace string) {
	t.Helper()
	bundle := &certificatesv1beta1.ClusterTrustBundle{
		ObjectMeta: metav1.ObjectMeta{Name: "example.com:signer:roots"},
		Spec:       certificatesv1beta1.ClusterTrustBundleSpec{SignerName: "example.com/signer", TrustBundle: string(c.Config.CAData)},
	}
	require.NoError(t, c.Client.Create(t.Context(), bundle))
	for delivery, see := range map[string]func(*admitted) string{
		"csi": seeBundle,
		"secret": func(pod *admitted) string {
			source := volumeNamed(pod.Pod, "mtls-certs").Projected.Sources[1]
			return "ClusterTrustBundle " + *source.ClusterTrustBundle.Name
		},
	} {
		t.Run(delivery, func(t *testing.T) {
			annotations := map[string]string{"role": "both", "ca-bundle": "ClusterTrustBundle/" + bundle.Name, "delivery": delivery}
			if delivery == "secret" {
				annotations["mount-path"] = "/certs"
			}
			pod := podWith(namespace, annotations)
			require.NoError(t, c.Client.Create(t.Context(), pod, client.DryRunAll))
			assert.Equal(t, "ClusterTrustBundle "+bundle.Name, see(&admitted{Pod: pod}))
		})
	}
}
