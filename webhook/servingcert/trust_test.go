package servingcert

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// scene is a replica's trust with a clock that stands still unless told.
type scene struct {
	*testing.T
	*trust
	clock    time.Time
	old, new *testCA
	// leaves are signed when they are asked for first.
	leaves map[*testCA]*tls.Certificate
}

// newScene begins an hour after the old CA was made, and a day before it ends.
func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{T: t, clock: start, old: newCA(t, start.Add(-time.Hour)), new: newCA(t, start), leaves: map[*testCA]*tls.Certificate{}}
	s.trust = &trust{grace: 10 * time.Second, overlap: 10 * time.Minute, now: func() time.Time { return s.clock }}
	return s
}

// see lets it observe configurations with the given caBundles.
func (s *scene) see(current *testCA, bundles ...[]*testCA) {
	var certs [][]*x509.Certificate
	for _, bundle := range bundles {
		certs = append(certs, certsOf(bundle...))
	}
	var ca *x509.Certificate
	if current != nil {
		ca = current.Certificate
	}
	s.observe(ca, certs)
}

// leaf is the certificate of the CA, signed when first asked for.
func (s *scene) leaf(ca *testCA) *tls.Certificate {
	if s.leaves[ca] == nil {
		s.leaves[ca] = ca.sign(s.T, s.clock)
	}
	return s.leaves[ca]
}

// serves has the authority's latest certificate be of the CA newest, and says whose is served.
func (s *scene) serves(newest, want *testCA) {
	s.Helper()
	got := s.choose(s.leaf(newest))
	if want == nil {
		assert.Nil(s, got)
		return
	}
	require.NotNil(s, got)
	assert.NoError(s, got.Leaf.CheckSignatureFrom(want.Certificate))
}

func (s *scene) ready(want string) {
	s.Helper()
	if err := s.check(); want == "" {
		assert.NoError(s, err)
	} else {
		assert.EqualError(s, err, want)
	}
}

func (s *scene) pass(d time.Duration) { s.clock = s.clock.Add(d) }

const (
	notThere = "the serving certificate's CA is not in the caBundle of every webhook configuration of ours"
	tooNew   = "the serving certificate's CA is so new in the caBundle that some API server may not know it yet"
)

type bundle = []*testCA

func TestTrust(t *testing.T) {
	for name, story := range map[string]func(*scene){
		"the first start: as soon as it is in the caBundles": func(s *scene) {
			s.serves(s.new, nil)
			s.ready(notThere)
			s.see(nil, bundle{}, bundle{})
			s.serves(s.new, nil)
			s.see(s.new, bundle{s.new}, bundle{})
			s.serves(s.new, nil)
			s.see(s.new, bundle{s.new}, bundle{s.new})
			s.serves(s.new, s.new)
			s.ready(tooNew)
			s.pass(10*time.Second - 1)
			s.ready(tooNew)
			s.pass(1)
			s.ready("")
		},
		"a restart need not wait": func(s *scene) {
			s.see(s.old, bundle{s.old})
			s.serves(s.old, s.old)
			s.ready("")
		},
		"a restart need not wait, even for a CA that is not old": func(s *scene) {
			ca := newCA(t, start.Add(-20*time.Second))
			s.see(ca, bundle{ca})
			s.serves(ca, ca)
			s.ready("")
		},
		"a restart in a rotation serves at once, and is ready later": func(s *scene) {
			s.see(s.new, bundle{s.new, s.old})
			s.serves(s.new, s.new)
			s.ready(tooNew)
		},
		"a rotation: not before it is in all caBundles": func(s *scene) {
			s.see(s.old, bundle{s.old}, bundle{s.old})
			s.serves(s.old, s.old)
			s.see(s.new, bundle{s.old}, bundle{s.old})
			s.serves(s.new, s.old)
			s.pass(time.Minute)
			s.see(s.new, bundle{s.old, s.new}, bundle{s.old})
			s.serves(s.new, s.old)
			s.pass(time.Minute)
			s.see(s.new, bundle{s.old, s.new}, bundle{s.old, s.new})
			s.serves(s.new, s.old)
			s.ready("")
		},
		"a rotation: after the grace period": func(s *scene) {
			s.see(s.old, bundle{s.old}, bundle{s.old})
			s.serves(s.old, s.old)
			s.see(s.new, bundle{s.old, s.new}, bundle{s.old, s.new})
			s.serves(s.new, s.old)
			s.pass(10*time.Second - 1)
			s.serves(s.new, s.old)
			s.pass(1)
			s.serves(s.new, s.new)
			s.ready("")
		},
		"a caBundle that is overwritten in between starts the period anew": func(s *scene) {
			s.see(s.old, bundle{s.old})
			s.serves(s.old, s.old)
			s.see(s.new, bundle{s.old, s.new})
			s.serves(s.new, s.old)
			s.pass(9 * time.Second)
			s.see(s.new, bundle{s.old})
			s.see(s.new, bundle{s.old, s.new})
			s.pass(9 * time.Second)
			s.serves(s.new, s.old)
			s.pass(time.Second)
			s.serves(s.new, s.new)
		},
		"a second rotation in the first's grace period": func(s *scene) {
			s.see(s.old, bundle{s.old})
			s.serves(s.old, s.old)
			s.see(s.new, bundle{s.old, s.new})
			s.serves(s.new, s.old)
			s.pass(9 * time.Second)
			third := newCA(t, s.clock)
			s.see(third, bundle{s.old, s.new, third})
			s.serves(third, s.old)
			s.pass(9 * time.Second)
			s.serves(third, s.old)
			s.pass(time.Second)
			s.serves(third, third)
		},
		"a renewal by the same CA waits for clocks that are behind": func(s *scene) {
			s.see(s.old, bundle{s.old})
			first := s.leaf(s.old)
			assert.Same(t, first, s.choose(first))
			s.pass(40 * time.Minute)
			second := s.old.sign(t, s.clock)
			assert.Same(t, first, s.choose(second))
			s.pass(10 * time.Second)
			assert.Same(t, second, s.choose(second))
		},
		"an expired one is replaced without waiting": func(s *scene) {
			s.see(s.old, bundle{s.old})
			s.serves(s.old, s.old)
			s.pass(time.Hour + 1)
			s.serves(s.new, s.old)
			s.see(s.new, bundle{s.old, s.new})
			s.serves(s.new, s.new)
		},
		"overwritten for good by a caBundle with the new CA only": func(s *scene) {
			s.see(s.old, bundle{s.old})
			s.serves(s.old, s.old)
			s.ready("")
			s.see(s.new, bundle{s.new})
			s.serves(s.new, s.new)
			s.ready("")
		},
		"overwritten: not ready until it is repaired, and at once then": func(s *scene) {
			s.see(s.old, bundle{s.old})
			s.serves(s.old, s.old)
			s.ready("")
			s.see(s.old, bundle{})
			s.serves(s.old, s.old)
			s.ready(notThere)
			s.see(s.old, bundle{s.old})
			s.ready("")
		},
		"no configuration: nobody calls": func(s *scene) {
			s.see(s.new)
			s.serves(s.new, s.new)
			s.pass(10 * time.Second)
			s.ready("")
			s.see(s.new, bundle{})
			s.ready(notThere)
		},
	} {
		t.Run(name, func(t *testing.T) { story(newScene(t)) })
	}
}

func TestInUse(t *testing.T) {
	s := newScene(t)
	assert.Nil(t, s.inUse())
	s.see(s.old, bundle{s.old})
	s.serves(s.old, s.old)
	s.see(s.new, bundle{})
	assert.True(t, s.inUse().Equal(s.old.Certificate), "it is remembered when it is overwritten")
}

func TestOutlived(t *testing.T) {
	s := newScene(t)
	planted := newCA(t, start.Add(time.Hour))
	s.see(s.old, bundle{s.old}, bundle{s.old})
	s.see(s.new, bundle{s.old}, bundle{s.old, s.new})
	outlived := func(ca *testCA) bool { return s.outlived(s.new.Certificate)(ca.Certificate) }
	s.pass(time.Hour)
	assert.False(t, outlived(s.old), "the one that signs is not in every caBundle")
	s.see(s.new, bundle{s.old, s.new}, bundle{s.old, s.new, planted})
	s.pass(10*time.Minute - 1)
	assert.False(t, outlived(s.old))
	s.pass(1)
	assert.True(t, outlived(s.old))
	assert.True(t, outlived(planted), "nothing that does not sign stays, however young it says it is")
	assert.False(t, outlived(s.new))
	assert.False(t, outlived(newCA(t, start)), "one that was not seen before")
	s.see(s.new, bundle{s.new}, bundle{s.new})
	s.see(s.new, bundle{s.new}, bundle{s.new, planted})
	assert.False(t, outlived(planted), "another replica may have put it back for a reason, so it is given its time")
	s.see(s.old, bundle{s.new, s.old}, bundle{s.new, s.old})
	assert.False(t, s.outlived(s.old.Certificate)(s.new.Certificate), "brought back from a backup, it is new as the one that signs")
}
