package certs

// What the controller remembers of each companion between two looks: what it saw, so that
// it can tell a change from a state, and what it told, so that it does not tell it again.
// All of it may be lost: the next process then tells less, and writes nothing wrong.

import (
	"sync"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// journal holds the entries. An entry is used by one worker at a time, since the queue
// never hands out a key twice at once.
type journal struct {
	mu      sync.Mutex
	entries map[client.ObjectKey]*entry
}

type entry struct {
	// seen says that the Certificate was looked at before, issued that it was Ready then.
	seen, issued bool
	revision     int
	// firstPod is when the oldest pod was made, for a companion that was made by this process.
	firstPod time.Time

	// current is the resource version and the digest that were found to agree.
	current agreement

	// toldTaken, toldPending, toldStale and toldNeed are what was last told about each matter.
	toldTaken, toldPending, toldStale, toldNeed string
	// patience is how long to wait before looking again at an issuer that does not answer.
	patience time.Duration

	// issuance is the last one seen, with the time since when, and how long it is waited
	// for its other half.
	issuance      issuance
	issuanceSince time.Time
	issuanceWait  time.Duration
	// examined and requested are certificate hashes: of the last one, the pod template
	// was looked at, and a restart was asked for.
	examined, requested string
}

// agreement says that the live object of that resource version is what the digest asks for.
type agreement struct {
	resourceVersion, digest string
}

// issuance is what the status says of the last one. cert-manager's controllers write the
// two fields one after the other, in no certain order.
type issuance struct {
	revision  int
	notBefore time.Time
}

// settled is when the two have stood for long enough to belong together. A revision that
// came without another time gets longer, for that is still to come.
func (e *entry) settled(cert *cmapi.Certificate, now time.Time) time.Time {
	const enough, halfSeen = 3 * time.Second, 30 * time.Second
	at := issuance{revision(cert), cert.Status.NotBefore.Time}
	if e.issuanceSince.IsZero() || e.issuance != at {
		e.issuanceWait = enough
		if !e.issuanceSince.IsZero() && e.issuance.notBefore.Equal(at.notBefore) {
			e.issuanceWait = halfSeen
		}
		e.issuance, e.issuanceSince = at, now
	}
	return e.issuanceSince.Add(e.issuanceWait)
}

func newJournal() *journal { return &journal{entries: map[client.ObjectKey]*entry{}} }

// of returns the entry of a companion, a new one if there is none.
func (j *journal) of(key client.ObjectKey) *entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := j.entries[key]
	if e == nil {
		e = &entry{}
		j.entries[key] = e
	}
	return e
}

// forget drops the entry of a companion that is no more.
func (j *journal) forget(key client.ObjectKey) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.entries, key)
}

// taken counts the companions whose name somebody else has.
func (j *journal) taken() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, e := range j.entries {
		if e.toldTaken != "" {
			n++
		}
	}
	return n
}

// tellOnce reports whether the text is news, and remembers it.
func tellOnce(told *string, text string) bool {
	if *told == text {
		return false
	}
	*told = text
	return text != ""
}
