package certs

import (
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// slotTimeout frees the slot of a rollout that does not come to an end; it is what a
// Deployment's own progressDeadlineSeconds is by default.
const slotTimeout = 10 * time.Minute

// slots limit how many workloads are restarted at a time. The zero value is ready.
type slots struct {
	mu   sync.Mutex
	held map[client.ObjectKey]time.Time
}

// acquire takes a slot for the companion's workload, unless all are taken. It may have
// one already.
func (s *slots) acquire(key client.ObjectKey, limit int, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for holder, since := range s.held {
		if now.Sub(since) > slotTimeout {
			delete(s.held, holder)
		}
	}
	if _, has := s.held[key]; !has && len(s.held) >= limit {
		return false
	}
	s.put(key, now)
	return true
}

// hold takes a slot for a restart that is under way, whether there is one or not.
func (s *slots) hold(key client.ObjectKey, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(key, now)
}

func (s *slots) put(key client.ObjectKey, now time.Time) {
	if s.held == nil {
		s.held = map[client.ObjectKey]time.Time{}
	}
	if _, has := s.held[key]; !has {
		s.held[key] = now
	}
}

// release gives the slot back, if the workload has one.
func (s *slots) release(key client.ObjectKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, key)
}
