package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// One of each class.
var (
	write    = asked{classWrite, "patch", "certificates.cert-manager.io"}
	read     = asked{classRead, "get", "replicasets.apps"}
	watch    = asked{classWatch, "watch", "pods"}
	election = asked{classElection, "update", "leases.coordination.k8s.io"}
	review   = asked{classReview, "create", "tokenreviews.authentication.k8s.io"}
)

func TestCountTakesATime(t *testing.T) {
	from := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	until := from.Add(time.Minute)
	got := count([]request{
		{write, from.Add(-1)}, {write, from}, {write, from.Add(time.Second)}, {read, until.Add(-1)}, {read, until},
	}, from, until)
	assert.Equal(t, counts{write: 2, read: 1}, got)
}

func TestSums(t *testing.T) {
	c := counts{write: 1, read: 2, watch: 4, election: 8, review: 16}
	assert.Equal(t, 1, c.of(classWrite))
	assert.Equal(t, 24, c.of(classElection, classReview))
	assert.Equal(t, 3, c.own(), "neither watches nor the lease nor reviews")
	assert.Zero(t, counts{}.own())
}

func TestRowsAreThoseOfAll(t *testing.T) {
	list, create := asked{classRead, "list", "replicasets.apps"}, asked{classWrite, "create", "events"}
	got := rows(counts{election: 1, list: 1, write: 1}, counts{}, counts{read: 1, list: 2, create: 1})
	assert.Equal(t, []asked{write, create, read, list, election}, got)
}
