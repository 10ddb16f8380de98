package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/intent"
)

// measured is a result in which all went well.
func measured() *result {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r := &result{
		options: &options{rate: 10, atOnce: 5}, version: "v1.36.3", began: began, took: 10 * time.Second,
		done:  []happened{{kind: kindCrash, name: "a replica crashes", at: began.Add(5 * time.Second), took: time.Second}},
		tally: &tally{created: 100},
	}
	for n := range 100 {
		r.latencies = append(r.latencies, time.Duration(100-n)*time.Millisecond)
	}
	return r
}

func TestReport(t *testing.T) {
	var out strings.Builder
	require.NoError(t, measured().print(&out))
	assert.Equal(t, `10 pods a second created for 10s, 2 replicas, Kubernetes v1.36.3

   5.0 s  a replica crashes (took 1.0 s)

100 injected; latency of a creation: median 51ms, 99 % 100ms, longest 100ms
0 creations failed at the API server itself, 0 were not begun as 5 were under way

ha: pods created, a second                                 10.0  target at least      9.8  ok
ha: failed admissions                                         0  target at most        0  ok
ha: failed admissions within 3s of a crash (SIGKILL)          0  target at most        0  ok
ha: pods that came out uninjected                             0  target at most        0  ok
`, out.String())
}

func TestReportTellsWhatIsShort(t *testing.T) {
	r := measured()
	r.created, r.uninjected, r.dryRun, r.behind = 90, 1, true, 2
	at := func(second int) time.Time { return r.began.Add(time.Duration(second) * time.Second) }
	r.admission = []failure{{at(7), errors.New("pod 17: EOF")}, {at(7), errors.New("pod 18: EOF")}, {at(9), errors.New("late")}}
	r.apiServer = []failure{{at(1), errors.New("refused")}}
	var out strings.Builder
	require.EqualError(t, r.print(&out), "4 of 4 targets missed")
	for _, want := range []string{
		"created as dry runs for 10s",
		"1 creations failed at the API server itself, 2 were not begun",
		"  admission, 2 times from 7.0 s: pod ##: EOF\n  admission, 1 times from 9.0 s: late\n  API server, 1 times from 1.0 s: refused\n",
		"ha: pods created, a second                                  9.5  target at least      9.8  short\n",
		"ha: failed admissions                                         1  target at most        0  short\n",
		"ha: failed admissions within 3s of a crash (SIGKILL)          2  target at most        0  short\n",
		"ha: pods that came out uninjected                             1  target at most        0  short\n",
	} {
		assert.Contains(t, out.String(), want)
	}
}

func TestShorten(t *testing.T) {
	assert.Equal(t, "pod load-######", shorten("pod load-000123"))
	assert.Equal(t, strings.Repeat("a", 240)+"…", shorten(strings.Repeat("a", 241)))
}

func TestPercentile(t *testing.T) {
	assert.Zero(t, percentile(nil, 50))
	assert.Equal(t, 2*time.Second, percentile([]time.Duration{time.Second, 2 * time.Second}, 100))
}

func TestOfAdmission(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"no answer":            {errors.New("connection refused by webhook"), false},
		"the webhook failed":   {apierrors.NewInternalError(errors.New(`failed calling webhook "pods.mtls.example.io": EOF`)), true},
		"the webhook refused":  {apierrors.NewBadRequest(`admission webhook "pods.mtls.example.io" denied the request`), true},
		"the API server alone": {apierrors.NewTooManyRequests("later", 1), false},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tt.want, ofAdmission(tt.err)) })
	}
}

func TestInjected(t *testing.T) {
	pod := podNumber(51)
	assert.Equal(t, "load-01", pod.Namespace)
	assert.False(t, injected(pod), "as it is written")
	pod.Labels[intent.LabelInjected] = "true"
	pod.Annotations[intent.AnnotationStatus] = "{}"
	assert.False(t, injected(pod), "marked only")
	pod.Spec.Volumes = []corev1.Volume{{Name: "c", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: intent.CSIDriver}}}}
	assert.False(t, injected(pod), "not mounted")
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "c"}}
	assert.True(t, injected(pod))
}
