package main

import (
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
)

func pod(uid types.UID) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{UID: uid}}
}

func companion(uid types.UID, conditions ...cmapi.CertificateCondition) *cmapi.Certificate {
	return &cmapi.Certificate{
		ObjectMeta: metav1.ObjectMeta{UID: uid, Generation: 2},
		Status:     cmapi.CertificateStatus{Conditions: conditions},
	}
}

func condition(kind cmapi.CertificateConditionType, status cmmeta.ConditionStatus, generation int64) cmapi.CertificateCondition {
	return cmapi.CertificateCondition{Type: kind, Status: status, ObservedGeneration: generation}
}

func TestTracker(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	clock := start
	tr := newTracker()
	tr.now = func() time.Time { clock = clock.Add(time.Second); return clock }
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	ready := condition(cmapi.CertificateConditionReady, cmmeta.ConditionTrue, 2)

	assert.Zero(t, tr.milestones())
	tr.putPod(pod("a"))                    // 1
	tr.putPod(pod("b"))                    // 2
	tr.putPod(pod("b"))                    // an update
	tr.putCompanion(companion("x"))        // 3
	tr.putCompanion(companion("x"))        // an update
	tr.putCompanion(companion("x", ready)) // 4
	tr.putCompanion(companion("y", ready)) // 5, and Ready at 6
	tr.putCompanion(companion("x", ready)) // an update
	assert.Equal(t, milestones{2, 2, 2, at(2), at(5), at(6)}, tr.milestones())

	tr.putCompanion(companion("x")) // is to be issued again
	tr.drop(pod("a"))
	assert.Equal(t, milestones{1, 2, 1, at(2), at(5), at(6)}, tr.milestones())
	tr.putCompanion(companion("x", ready)) // 7
	tr.drop(toolscache.DeletedFinalStateUnknown{Obj: companion("y")})
	assert.Equal(t, milestones{1, 1, 1, at(2), at(5), at(7)}, tr.milestones())
}

func TestReady(t *testing.T) {
	const kind = cmapi.CertificateConditionReady
	for name, tc := range map[string]struct {
		conditions []cmapi.CertificateCondition
		want       bool
	}{
		"nothing known":   {nil, false},
		"ready":           {[]cmapi.CertificateCondition{condition("Issuing", "False", 1), condition(kind, cmmeta.ConditionTrue, 2)}, true},
		"not ready":       {[]cmapi.CertificateCondition{condition(kind, cmmeta.ConditionFalse, 2)}, false},
		"ready as it was": {[]cmapi.CertificateCondition{condition(kind, cmmeta.ConditionTrue, 1)}, false},
		"issuing":         {[]cmapi.CertificateCondition{condition("Issuing", "True", 2)}, false},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tc.want, isReady(companion("x", tc.conditions...))) })
	}
}
