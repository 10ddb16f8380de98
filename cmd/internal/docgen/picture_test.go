package main

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

func TestPicture(t *testing.T) {
	svg, err := picturePage(cases)
	require.NoError(t, err)
	decoder := xml.NewDecoder(strings.NewReader(svg))
	for err == nil {
		_, err = decoder.Token()
	}
	require.ErrorIs(t, err, io.EOF, "well-formed")
	for _, part := range []string{
		"mtls.example.io/role: server", "MTLS_SERVER_CERT=/etc/tls/server/tls.crt", "mounted read-only: /etc/tls/ca",
		"preStop: sleep 10 s", "volume mtls-certs", "signed by ClusterIssuer mtls-ca, valid 2160h", "volume mtls-ca<",
	} {
		assert.Contains(t, svg, part)
	}
	assert.NotContains(t, svg, "LOG_LEVEL", "what was there before is not new")
	assert.NotContains(t, svg, "kube-api-access")
}

func TestPictureNeedsAHook(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}}}
	_, err := drawPod(pod, pod)
	require.EqualError(t, err, "the container to draw has no preStop hook that sleeps")
	_, err = picturePage(t.TempDir())
	require.ErrorContains(t, err, "no such file")
}
