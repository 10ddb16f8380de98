package main

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func fineResult() *result {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
	return &result{
		options: &options{workloads: 1000, pods: 10, services: 2000, namespaces: 20, restTime: time.Minute},
		version: "v1.36.3",
		began:   began,
		seen: milestones{
			pods: 10000, companions: 1000, ready: 1000,
			podsSince: at(90), companionsSince: at(92), companionsReady: at(140),
		},
		creating:   counts{write: 2000, read: 3500, election: 80},
		resting:    counts{watch: 1, election: 30},
		restarting: counts{read: 1000, election: 8, review: 1},
		created:    standing{usage{memory{80 * mebibyte, 50 * mebibyte, 95 * mebibyte}, time.Second}, 108},
		restarted:  standing{usage{memory{90 * mebibyte, 60 * mebibyte, 99 * mebibyte}, time.Second}, 97},
		cpuAtRest:  0.0012,
		lookedAt:   2840 * time.Millisecond,
	}
}

const fineReport = `1,000 workloads of 10 pods, 2,000 Services, 20 namespaces; Kubernetes v1.36.3

  from the first Deployment  from the last pod  until
                     90.0 s              0.0 s  all pods exist
                     92.0 s              2.0 s  all companions exist
                    140.0 s             50.0 s  all companions are Ready

  creating  a workload  at rest  restart  requests of the injector
     2,000        2.00        0        0  write: patch certificates.cert-manager.io
     3,500        3.50        0    1,000  read: get replicasets.apps
         0        0.00        1        0  watch: watch pods
        80        0.08       30        8  leader election: update leases.coordination.k8s.io
         0        0.00        0        1  review: create tokenreviews.authentication.k8s.io
     2,000        2.00        0        0  all writes
     3,500        3.50        0    1,000  all reads
         0        0.00        1        0  not counted: watches reopened after the server closed them
        80        0.08       30        9  not counted: leader election and reviews

       RSS  anonymous  peak RSS  goroutines  the injector's process
  80.0 MiB   50.0 MiB  95.0 MiB         108  at rest, after the creation
  90.0 MiB   60.0 MiB  99.0 MiB          97  after the restart

at rest it takes 0.12 % of one core
restarted, it has looked at every companion after 2.8 s

scale: writes per workload                             2.000  target at most     2.000  ok
scale: writes at a restart                                 0  target at most         0  ok
scale: requests at rest, in 1m0s                           0  target at most         0  ok
scale: memory (RSS) at 10,000 pods                  90.0 MiB  target at most 100.0 MiB  ok
`

func TestReport(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, fineResult().print(&out))
	assert.Equal(t, fineReport, out.String())
}

func TestReportSaysWhatIsShort(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(*result)
		want  string
	}{
		"a write too many":   {func(r *result) { r.creating[write] = 2001 }, " 2.001  target at most     2.000  short\n"},
		"a write at restart": {func(r *result) { r.restarting[write] = 1 }, "scale: writes at a restart                                 1  target at most         0  short\n"},
		"a read at rest":     {func(r *result) { r.resting[read] = 1 }, "     1  target at most         0  short\n"},
		"a write at rest":    {func(r *result) { r.resting[write] = 1 }, "     1  target at most         0  short\n"},
		"memory":             {func(r *result) { r.created.resident = 101 * mebibyte }, " 101.0 MiB  target at most 100.0 MiB  short\n"},
		"memory, restarted":  {func(r *result) { r.restarted.resident = 101 * mebibyte }, " 101.0 MiB  target at most 100.0 MiB  short\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := fineResult()
			tc.spoil(r)
			var out bytes.Buffer
			assert.EqualError(t, r.print(&out), "1 of 4 targets missed")
			assert.Contains(t, out.String(), tc.want)
			assert.Equal(t, 1, bytes.Count(out.Bytes(), []byte("  short\n")))
			assert.Equal(t, 3, bytes.Count(out.Bytes(), []byte("  ok\n")))
		})
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestReportCannotBePrinted(t *testing.T) {
	assert.EqualError(t, fineResult().print(full{}), "printing the report: disk full")
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 12345: "12,345", 123456: "123,456", 1234567: "1,234,567"} {
		assert.Equal(t, want, thousands(n))
	}
}
