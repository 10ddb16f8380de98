package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// electionNamespace is where the injector's Lease is, and the Events of its election.
const electionNamespace = "mtls-injector"

// class says what a request counts as.
type class int

const (
	classWrite class = iota
	classRead
	// classWatch is a watch that follows a list, or goes on where one ended that the API
	// server closed. One that begins with the list (KEP-3157) is a read.
	classWatch
	// classElection is the upkeep of the leader's Lease.
	classElection
	// classReview is asking the API server who somebody is and what they may do.
	classReview
)

func (c class) String() string {
	return [...]string{"write", "read", "watch", "leader election", "review"}[c]
}

// asked is what is asked of the API server. The resource has its group behind a dot and its
// subresource behind a slash, as in certificates.cert-manager.io/status; for what is no
// resource it is the path. The verb of a watch that begins with the list is watch-list.
type asked struct {
	class          class
	verb, resource string
}

// request is one request to the API server.
type request struct {
	asked
	at time.Time
}

// auditEvent is the part of audit.k8s.io/v1 Event that is needed.
type auditEvent struct {
	AuditID                  string    `json:"auditID"`
	Verb                     string    `json:"verb"`
	RequestURI               string    `json:"requestURI"`
	RequestReceivedTimestamp time.Time `json:"requestReceivedTimestamp"`
	ObjectRef                *struct {
		Resource    string `json:"resource"`
		APIGroup    string `json:"apiGroup"`
		Namespace   string `json:"namespace"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
}

func (e *auditEvent) request() request {
	r := request{asked{class: e.class(), verb: e.Verb}, e.RequestReceivedTimestamp}
	if e.Verb == "watch" && r.class == classRead {
		r.verb = "watch-list"
	}
	if e.ObjectRef == nil {
		r.resource, _, _ = strings.Cut(e.RequestURI, "?")
		return r
	}
	r.resource = e.ObjectRef.Resource
	if e.ObjectRef.APIGroup != "" {
		r.resource += "." + e.ObjectRef.APIGroup
	}
	if e.ObjectRef.Subresource != "" {
		r.resource += "/" + e.ObjectRef.Subresource
	}
	return r
}

func (e *auditEvent) class() class {
	if ref := e.ObjectRef; ref != nil {
		switch {
		case ref.APIGroup == "authentication.k8s.io", ref.APIGroup == "authorization.k8s.io":
			return classReview
		case ref.Resource == "leases", ref.Resource == "events" && ref.Namespace == electionNamespace:
			return classElection
		}
	}
	switch e.Verb {
	case "get", "list", "head", "options":
		return classRead
	case "watch":
		if strings.Contains(e.RequestURI, "sendInitialEvents=true") {
			return classRead
		}
		return classWatch
	}
	return classWrite
}

// parseAudit returns the requests of complete lines, each once, and how many bytes these
// have. known holds the IDs of those that it has returned: a watch is logged twice.
func parseAudit(log io.Reader, known map[string]bool) (requests []request, read int64, err error) {
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return requests, read, nil // a line that is being written is for the next time
		}
		if err != nil {
			return requests, read, fmt.Errorf("reading the audit log: %w", err)
		}
		read += int64(len(line))
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var event auditEvent
		if err := json.Unmarshal(line, &event); err != nil {
			return requests, read, fmt.Errorf("reading the audit log: %w", err)
		}
		if !known[event.AuditID] {
			known[event.AuditID] = true
			requests = append(requests, event.request())
		}
	}
}

// auditLog is the API server's log, of which every line is parsed once.
type auditLog struct {
	path     string
	offset   int64
	known    map[string]bool
	requests []request
}

// read takes in what was logged since. The API server logs before it answers.
func (l *auditLog) read() error {
	file, err := os.Open(l.path)
	if err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Seek(l.offset, io.SeekStart); err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	if l.known == nil {
		l.known = map[string]bool{}
	}
	requests, read, err := parseAudit(file, l.known)
	l.offset += read
	l.requests = append(l.requests, requests...)
	return err
}

// between counts the requests of a time, its end not included.
func (l *auditLog) between(from, until time.Time) (counts, error) {
	if err := l.read(); err != nil {
		return nil, err
	}
	return count(l.requests, from, until), nil
}
