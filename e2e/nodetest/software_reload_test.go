//go:build node

package nodetest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/realnode"
)

// What the matrix says of a renewal.
const (
	readsAnew = "reads the files anew"
	keepsOld  = "keeps the old one"
	startsNew = "starts with the new one"
)

// checkReload checks what a server does with a renewed certificate, and says it.
func (s *software) checkReload(one *server, reload string) string {
	workload := one.workload(reload)
	pod := s.awaitServer(workload)
	if reload == "restart" {
		s.checkRestart(one, workload, pod)
		return startsNew
	}
	first, err := served(s.Context(), pod, one.port)
	require.NoError(s, err)
	s.renew(pod, workload+"-mtls")
	if reload == "none" && !one.rereads {
		now, err := served(s.Context(), pod, one.port)
		require.NoError(s, err)
		assert.Equal(s, first, now, "nobody has told it")
		return keepsOld
	}
	require.NoError(s, s.WaitFor(s.patient(), workload+" to serve the renewed certificate", func(ctx context.Context) error {
		now, err := served(ctx, pod, one.port)
		if err != nil || now == first || now != fileSerial(s.T, pod) {
			return fmt.Errorf("it serves %s, first %s: %w", now, first, err)
		}
		return nil
	}))
	after := s.awaitServer(workload)
	assert.Equal(s, pod.UID, after.UID, "it is the same pod")
	for _, status := range after.Status.ContainerStatuses {
		assert.Zero(s, status.RestartCount, "%s was not restarted", status.Name)
	}
	if reload == "signal" {
		return "`" + one.signal + "`"
	}
	return readsAnew
}

// checkRestart renews the companion, of which the rollout comes.
func (s *software) checkRestart(one *server, workload string, pod *corev1.Pod) {
	first, err := served(s.Context(), pod, one.port)
	require.NoError(s, err)
	s.renewCompanion(workload + "-mtls")
	require.NoError(s, s.WaitFor(s.patient(), workload+" to be rolled out", func(ctx context.Context) error {
		pods, err := s.WaitForPods(ctx, s.namespace, map[string]string{"app": workload}, 1)
		if err != nil {
			return err
		}
		if pods[0].UID == pod.UID {
			return errors.New("the pod is the old one")
		}
		if err := ready(&pods[0]); err != nil {
			return err
		}
		now, err := served(ctx, &pods[0], one.port)
		if err == nil {
			assert.NotEqual(s, first, now)
		}
		return err
	}))
}

// renew waits until the pod has other files. The Secret's are renewed by hand.
func (s *software) renew(pod *corev1.Pod, companion string) {
	s.Helper()
	old := fileSerial(s.T, pod)
	if s.delivery == "secret" {
		s.renewCompanion(companion)
	}
	require.NoError(s, s.WaitFor(s.patient(), "the certificate of "+pod.Name+" to be renewed", func(context.Context) error {
		if fileSerial(s.T, pod) == old {
			return errors.New("it is the old one")
		}
		return nil
	}))
}

// renewCompanion has cert-manager issue a companion anew, as cmctl renew does.
func (s *software) renewCompanion(name string) {
	s.Helper()
	cert, err := s.WaitForCertificate(s.patient(), s.namespace, name)
	require.NoError(s, err)
	require.NoError(s, retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := s.Client.Get(s.Context(), client.ObjectKeyFromObject(cert), cert); err != nil {
			return err
		}
		apiutil.SetCertificateCondition(cert, cert.Generation, cmapi.CertificateConditionIssuing, cmmeta.ConditionTrue, "ManuallyTriggered", "renewed by hand")
		return s.Client.Status().Update(s.Context(), cert)
	}))
}

// fileSerial is the serial of the certificate in the pod's volume, as the kubelet has mounted it.
func fileSerial(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	volumes := filepath.Join(realnode.KubeletRoot, "pods", string(pod.UID), "volumes")
	var found []string
	for _, pattern := range []string{"kubernetes.io~csi/*/mount/tls.crt", "kubernetes.io~secret/mtls-*/tls.crt"} {
		names, err := filepath.Glob(filepath.Join(volumes, pattern))
		require.NoError(t, err)
		found = append(found, names...)
	}
	require.Len(t, found, 1, "certificates of %s", pod.Name)
	data, err := os.ReadFile(found[0])
	require.NoError(t, err)
	certs, err := certutil.ParseCertsPEM(data)
	require.NoError(t, err)
	return serial(certs[0])
}

func serial(cert *x509.Certificate) string { return cert.SerialNumber.Text(16) }

// served is the serial of the certificate that the server shows, whomever it lets in.
func served(ctx context.Context, pod *corev1.Pod, port int32) (string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(port))))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if port == 5432 {
		if err := askPostgres(conn); err != nil {
			return "", err
		}
	}
	var shown string
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			shown = serial(state.PeerCertificates[0])
			return nil
		},
	}
	err = tls.Client(conn, config).HandshakeContext(ctx)
	if shown != "" {
		err = nil // it may well refuse this caller
	}
	return shown, err
}

// askPostgres asks for TLS, as PostgreSQL's protocol has it (SSLRequest).
func askPostgres(conn net.Conn) error {
	request := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 8), 80877103)
	if _, err := conn.Write(request); err != nil {
		return err
	}
	answer := make([]byte, 1)
	if _, err := conn.Read(answer); err != nil {
		return err
	}
	if !strings.EqualFold(string(answer), "s") {
		return fmt.Errorf("PostgreSQL answers %q", answer)
	}
	return nil
}
