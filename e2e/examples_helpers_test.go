package e2e

import (
	"crypto/x509"
	"encoding/json"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/csidriver"
	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// example is the test of one example, after the demo has applied all of them.
type example struct {
	*testing.T
	*cluster.Cluster
}

// get reads an object.
func (e *example) get(namespace, name string, into client.Object) {
	e.Helper()
	require.NoError(e, e.Client.Get(e.Context(), client.ObjectKey{Namespace: namespace, Name: name}, into))
}

// pods returns the pods with that label app, and that there are n.
func (e *example) pods(namespace, app string, n int) []corev1.Pod {
	e.Helper()
	pods, err := e.WaitForPods(e.Context(), namespace, map[string]string{"app": app}, n)
	require.NoError(e, err)
	return pods
}

// status reads what the pod says was injected.
func (e *example) status(pod *corev1.Pod) injector.Status {
	e.Helper()
	var status injector.Status
	require.NoError(e, json.Unmarshal([]byte(pod.Annotations[intent.AnnotationStatus]), &status))
	return status
}

// request reads the pod's certificate volume as the CSI driver does.
func (e *example) request(pod *corev1.Pod) *csidriver.Request {
	e.Helper()
	request, err := csidriver.Parse(pod, "mtls-certs")
	require.NoError(e, err)
	assert.Empty(e, request.Ignored)
	return request
}

// certificate returns what the CSI driver was given for the pod.
func (e *example) certificate(pod *corev1.Pod) *x509.Certificate {
	e.Helper()
	var list cmapi.CertificateRequestList
	require.NoError(e, e.Client.List(e.Context(), &list, client.InNamespace(pod.Namespace)))
	for _, request := range list.Items {
		if len(request.OwnerReferences) == 1 && request.OwnerReferences[0].UID == pod.UID {
			return e.decode(request.Status.Certificate)
		}
	}
	require.FailNow(e, "the pod has no certificate")
	return nil
}

func (e *example) decode(chain []byte) *x509.Certificate {
	e.Helper()
	cert, err := pki.DecodeX509CertificateBytes(chain)
	require.NoError(e, err)
	return cert
}

// mountList returns the container's mounts, as volume, path and subPath, without the API
// token's.
func mountList(container *corev1.Container) []string {
	var all []string
	for _, mount := range container.VolumeMounts {
		if !strings.HasPrefix(mount.Name, "kube-api-access-") {
			all = append(all, mount.Name+" "+mount.MountPath+" "+mount.SubPath)
		}
	}
	return all
}

// variableNames returns the names of the container's variables, in order.
func variableNames(container *corev1.Container) []string {
	var names []string
	for _, variable := range container.Env {
		names = append(names, variable.Name)
	}
	return names
}

const day = 24 * time.Hour

// lifetime is that of a certificate, without what cert-manager lets clocks differ.
func lifetime(cert *x509.Certificate) time.Duration {
	return cert.NotAfter.Sub(cert.NotBefore).Round(time.Hour)
}
