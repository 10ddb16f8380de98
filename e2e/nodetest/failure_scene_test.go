//go:build node

package nodetest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/demo/authority"
	"example.io/mtls-injector/e2e/realnode"
	"example.io/mtls-injector/e2e/shortissuer"
	"example.io/mtls-injector/intent"
)

const (
	// witnessImage has package witness's program.
	witnessImage = "example.io/witness:dev"
	// caSecret is that of the chart's CA, which pods trust.
	caSecret = "mtls-ca-a"
	agent    = "mtls-agent"
)

// failure is the scene of something that fails: a namespace, whose pods say what they see.
type failure struct {
	*testing.T
	*realnode.Node
	namespace string
}

func newFailure(t *testing.T) *failure {
	t.Helper()
	return &failure{T: t, Node: theNode(t), namespace: newNamespace(t)}
}

// await waits with more patience than others.
func (f *failure) await(what string, check func(context.Context) error) {
	f.Helper()
	require.NoError(f, f.WaitFor(patient(f.T), what, check))
}

// create makes a client's pod that runs the witness, with further annotations. A pod called
// guarded has the agent.
func (f *failure) create(name string, annotations ...string) {
	f.Helper()
	annotations = append(annotations, "role=client", "companion=false")
	if strings.HasPrefix(name, "guarded") {
		annotations = append(annotations, "agent=true")
	}
	pod := newPod(f.namespace, name, witnessImage, annotations...)
	pod.Spec.Containers[0].Args = []string{"/etc/tls/client"}
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: ptr.To[int64](65532)}
	pod.Spec.TerminationGracePeriodSeconds = ptr.To[int64](1)
	require.NoError(f, f.Client.Create(f.Context(), pod))
}

// remove deletes a pod and waits until it is gone.
func (f *failure) remove(name string) {
	f.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name}}
	require.NoError(f, f.Client.Delete(f.Context(), pod))
	f.await("pod "+name+" to go", func(ctx context.Context) error {
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(pod), pod); client.IgnoreNotFound(err) != nil || err == nil {
			return fmt.Errorf("it is there (%w)", err)
		}
		return nil
	})
}

// awaitReady waits until the pods are ready.
func (f *failure) awaitReady(names ...string) {
	f.Helper()
	for _, name := range names {
		f.await("pod "+name+" to be ready", func(ctx context.Context) error { return ready(f.pod(ctx, name)) })
	}
}

func (f *failure) pod(ctx context.Context, name string) *corev1.Pod {
	f.Helper()
	var pod corev1.Pod
	require.NoError(f, f.Client.Get(ctx, client.ObjectKey{Namespace: f.namespace, Name: name}, &pod))
	return &pod
}

// awaitEvent waits for an Event on a pod that contains all parts.
func (f *failure) awaitEvent(pod string, parts ...string) {
	f.Helper()
	f.await(fmt.Sprintf("an Event on %s with %q", pod, parts), func(ctx context.Context) error {
		var events corev1.EventList
		if err := f.Client.List(ctx, &events, client.InNamespace(f.namespace)); err != nil {
			return err
		}
		var others []string
		for i := range events.Items {
			e := &events.Items[i]
			if text := e.Reason + ": " + e.Message; e.InvolvedObject.Name == pod {
				if hasAll(text, parts) {
					f.Logf("Event on %s: %s", pod, text)
					return nil
				}
				others = append(others, text)
			}
		}
		return fmt.Errorf("there are only %q", others)
	})
}

func hasAll(text string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

// seen is what a pod's witness, or its agent, has said.
func (f *failure) seen(pod, container string) string {
	f.Helper()
	log, err := f.Logs(f.Context(), f.namespace, pod, container)
	require.NoError(f, err)
	return log
}

// awaitLog waits until a container has said it.
func (f *failure) awaitLog(pod, container string, parts ...string) {
	f.Helper()
	f.awaitLines(pod, container, 1, parts...)
}

// awaitLines waits until a container has said it so many times.
func (f *failure) awaitLines(pod, container string, times int, parts ...string) {
	f.Helper()
	f.await(fmt.Sprintf("%s of %s to say %d times %q", container, pod, times, parts), func(ctx context.Context) error {
		log, err := f.Logs(ctx, f.namespace, pod, container)
		if err != nil {
			return err
		}
		said := 0
		for line := range strings.Lines(log) {
			if !hasAll(line, parts) {
				continue
			}
			if said++; said == times {
				f.Logf("%s of %s: %s", container, pod, strings.TrimSpace(line))
				return nil
			}
		}
		return fmt.Errorf("it has said only:\n%s", log)
	})
}

// awaitMetric waits until the pod's agent tells Prometheus so.
func (f *failure) awaitMetric(pod, line string) {
	f.Helper()
	f.await(pod+"'s metric "+line, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.pod(ctx, pod).Status.PodIP+":9469/metrics", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if !strings.Contains(string(body), line+"\n") {
			return fmt.Errorf("there is only\n%s", body)
		}
		return nil
	})
}

// checkWaits checks what kubectl get pods shows of a pod that has not started: its own
// container waits for a reason.
func (f *failure) checkWaits(pod, reason string) {
	f.Helper()
	f.await("pod "+pod+" to wait for "+reason, func(ctx context.Context) error {
		p := f.pod(ctx, pod)
		if p.Status.Phase != corev1.PodPending || len(p.Status.ContainerStatuses) != 1 {
			return fmt.Errorf("it is %s with %d containers", p.Status.Phase, len(p.Status.ContainerStatuses))
		}
		if waiting := p.Status.ContainerStatuses[0].State.Waiting; waiting == nil || waiting.Reason != reason {
			return fmt.Errorf("it waits for %v", waiting)
		}
		return nil
	})
}

// checkNeverBad checks that a pod's program never had anything but a certificate that is valid.
func (f *failure) checkNeverBad(pods ...string) {
	f.Helper()
	for _, pod := range pods {
		for line := range strings.Lines(f.seen(pod, "app")) {
			assert.Contains(f, line, " valid until ", pod)
		}
	}
}

// requests are the namespace's CertificateRequests.
func (f *failure) requests(ctx context.Context) []cmapi.CertificateRequest {
	f.Helper()
	var list cmapi.CertificateRequestList
	require.NoError(f, f.Client.List(ctx, &list, client.InNamespace(f.namespace)))
	return list.Items
}

// caPair is the CA's that the chart has made.
func (f *failure) caPair() authority.Pair {
	f.Helper()
	var secret corev1.Secret
	require.NoError(f, f.Client.Get(f.Context(), client.ObjectKey{Namespace: "cert-manager", Name: caSecret}, &secret))
	return authority.Pair{Cert: secret.Data[corev1.TLSCertKey], Key: secret.Data[corev1.TLSPrivateKeyKey]}
}

// annotations choose the issuer that runShortIssuer runs.
func (f *failure) short(more ...string) []string {
	return append([]string{"issuer=" + f.namespace, "issuer-kind=ShortIssuer", "issuer-group=short.example.io"}, more...)
}

// runShortIssuer runs an issuer of certificates that pods trust, whose lives are short or whose
// clock is wrong. It ends with what it returns, or with the test.
func (f *failure) runShortIssuer(lifetime, skew time.Duration) (stop func()) {
	f.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.Context()))
	ended := make(chan error, 1)
	opts := shortissuer.Options{
		Ref: cmmeta.IssuerReference{Name: f.namespace, Kind: "ShortIssuer", Group: "short.example.io"},
		CA:  f.caPair(), Lifetime: lifetime, Backdate: time.Second, Skew: skew,
	}
	go func() { ended <- shortissuer.Run(ctx, f.Config, opts) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			assert.NoError(f, <-ended)
		}
	}
	f.Cleanup(stop)
	return stop
}

// giveIssuer makes the namespace's own Issuer, which signs with the CA that pods trust.
func (f *failure) giveIssuer() *cmapi.Issuer {
	f.Helper()
	ca := f.caPair()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "own-ca"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: ca.Cert, corev1.TLSPrivateKeyKey: ca.Key},
	}
	require.NoError(f, client.IgnoreAlreadyExists(f.Client.Create(f.Context(), secret)))
	issuer := &cmapi.Issuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "own"},
		Spec:       cmapi.IssuerSpec{IssuerConfig: cmapi.IssuerConfig{CA: &cmapi.CAIssuer{SecretName: secret.Name}}},
	}
	require.NoError(f, f.Client.Create(f.Context(), issuer))
	require.NoError(f, f.WaitForIssuer(f.Context(), f.namespace, issuer.Name))
	return issuer
}

// ownIssuer chooses it.
func ownIssuer() []string { return []string{"issuer=own", "issuer-kind=Issuer"} }

// giveBundle makes, or changes, a ConfigMap with CA certificates.
func (f *failure) giveBundle(name string, certs []byte) {
	f.Helper()
	bundle := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name},
		Data:       map[string]string{"ca.crt": string(certs)},
	}
	if err := f.Client.Create(f.Context(), bundle); client.IgnoreAlreadyExists(err) != nil {
		require.NoError(f, err)
	} else if err != nil {
		require.NoError(f, f.Client.Update(f.Context(), bundle))
	}
}

// csiNodeHas tells whether the kubelet knows the CSI driver.
func (f *failure) csiNodeHas(ctx context.Context) (bool, error) {
	drivers, err := f.Clientset.StorageV1().CSINodes().Get(ctx, cluster.NodeName, metav1.GetOptions{})
	if err != nil {
		return false, err
	}
	for _, driver := range drivers.Spec.Drivers {
		if driver.Name == intent.CSIDriver {
			return true, nil
		}
	}
	return false, nil
}
