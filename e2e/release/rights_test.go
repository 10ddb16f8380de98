package release_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/release"
)

// TestRightsOfItsOwnCertificate: what the chart grants besides with a self-managed
// certificate is used, and nothing is asked for that it does not grant. The other rights have
// TestRBAC.
func TestRightsOfItsOwnCertificate(t *testing.T) {
	begin := size(t, stage.AuditLog)
	install(t, "--set", "webhook.certificate.mode=selfManaged")
	ca := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: release.Namespace, Name: release.Name + "-webhook-ca"}}

	// A CA that somebody has damaged is replaced.
	require.NoError(t, stage.Client.Get(t.Context(), client.ObjectKeyFromObject(ca), ca))
	damaged := ca.DeepCopy()
	damaged.Data[corev1.TLSPrivateKeyKey] = []byte("none")
	require.NoError(t, stage.Client.Update(t.Context(), damaged))
	require.NoError(t, stage.WaitFor(t.Context(), "another CA", func(ctx context.Context) error {
		err := stage.Client.Get(ctx, client.ObjectKeyFromObject(ca), ca)
		if err == nil && bytes.Equal(ca.Data[corev1.TLSPrivateKeyKey], []byte("none")) {
			err = errors.New("it is the damaged one")
		}
		return err
	}))
	require.NoError(t, stage.AwaitTrust(t.Context(), stage.CAOf(ca.Name)))

	used := map[string]bool{}
	for _, event := range auditFrom(t, begin) {
		assert.NotEqual(t, int32(http.StatusForbidden), event.ResponseStatus.Code, "%s %s", event.Verb, event.RequestURI)
		if ref := event.ObjectRef; ref != nil && (ref.APIGroup == admissionv1.GroupName || ref.Resource == "secrets" && ref.Namespace == release.Namespace) {
			used[event.Verb+" "+ref.Resource] = true
		}
	}
	want := []string{
		"create secrets", "get secrets", "watch secrets", "update secrets",
		"get mutatingwebhookconfigurations", "watch mutatingwebhookconfigurations", "patch mutatingwebhookconfigurations",
		"get validatingwebhookconfigurations", "watch validatingwebhookconfigurations", "patch validatingwebhookconfigurations",
	}
	for _, right := range want {
		assert.True(t, used[right], "%s is granted, and not used", right)
	}
	// An API server that cannot stream lists (KEP-3157) is asked for them.
	granted := slices.Concat(want, []string{"list secrets", "list mutatingwebhookconfigurations", "list validatingwebhookconfigurations"})
	for right := range used {
		assert.Contains(t, granted, right)
	}
}

// TestForbidden: what the chart does not grant, its service account cannot do.
func TestForbidden(t *testing.T) {
	install(t)
	account := userClient(t, "system:serviceaccount:"+release.Namespace+":"+release.Name, "system:serviceaccounts")
	ns := optedIn(t)
	for name, object := range map[string]client.Object{
		"make a pod":               server(ns),
		"make a Secret":            &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: release.Namespace, Name: "stolen"}},
		"make a ConfigMap":         &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "mtls-ca-bundle"}},
		"register another webhook": &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "another"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := account.Create(t.Context(), object, client.DryRunAll)
			assert.True(t, apierrors.IsForbidden(err), "%v", err)
		})
	}
	t.Run("change its own webhook", func(t *testing.T) {
		config := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: release.Name}}
		err := account.Delete(t.Context(), config, client.DryRunAll)
		assert.True(t, apierrors.IsForbidden(err), "%v", err)
	})
}

func size(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	require.NoError(t, err)
	return info.Size()
}

// auditFrom returns the events of the audit log behind an offset.
func auditFrom(t *testing.T, offset int64) []auditv1.Event {
	t.Helper()
	log, err := os.ReadFile(stage.AuditLog)
	require.NoError(t, err)
	var events []auditv1.Event
	for line := range bytes.Lines(log[offset:]) {
		var event auditv1.Event
		if json.Unmarshal(line, &event) != nil || event.ResponseStatus == nil {
			continue // a line that is being written
		}
		events = append(events, event)
	}
	require.NotEmpty(t, events)
	return events
}
