package webhook

// How a request is read from the wire, and how long it may take.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"os"
	"time"
)

// maxBody bounds a request. An object in a request to the API server has at most 3 MiB
// (k8s.io/apiserver, server.Config.MaxRequestBodyBytes), a review holds up to two of
// them, and all else in it is below 1 MiB. controller-runtime has the same bound.
const maxBody = 7 << 20

// keptBody is the largest buffer that is kept for the next request.
const keptBody = 256 << 10

// The API server waits at most 30 seconds for a webhook, and 10 unless told otherwise
// (admissionregistration.k8s.io/v1, timeoutSeconds).
const (
	defaultTimeout = 10 * time.Second
	maxTimeout     = 30 * time.Second
)

const jsonMedia = "application/json"

// scratch is memory that one request after the other uses.
type scratch struct {
	body   bytes.Buffer
	reader reader
	patch  []byte
	out    []byte
}

// read reads the request as far as it is needed; of a pod for which wanted returns false,
// the metadata only.
func (s *scratch) read(w http.ResponseWriter, r *http.Request, wanted func(*request) bool) (*request, *failure) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, badRequest(http.StatusMethodNotAllowed, fmt.Errorf("method %s: only POST is answered", r.Method))
	}
	if contentType := r.Header.Get("Content-Type"); contentType != jsonMedia {
		if media, _, err := mime.ParseMediaType(contentType); err != nil || media != jsonMedia {
			return nil, badRequest(http.StatusUnsupportedMediaType, fmt.Errorf("content type %q: only %s is answered", contentType, jsonMedia))
		}
	}
	if f := s.readBody(w, r); f != nil {
		return nil, f
	}
	s.reader.reset(s.body.Bytes())
	q, err := s.reader.decodeReview(wanted)
	if err != nil {
		return nil, badRequest(http.StatusBadRequest, fmt.Errorf("reading the AdmissionReview: %w", err))
	}
	return q, nil
}

func (s *scratch) readBody(w http.ResponseWriter, r *http.Request) *failure {
	if r.ContentLength > maxBody {
		return tooLarge()
	}
	s.body.Reset()
	s.body.Grow(int(max(r.ContentLength, 0)) + bytes.MinRead) // what ReadFrom wants free at the end
	if _, err := s.body.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody)); errors.As(err, new(*http.MaxBytesError)) {
		return tooLarge()
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		return badRequest(http.StatusRequestTimeout, errors.New("the body took too long to come"))
	} else if err != nil {
		return badRequest(http.StatusBadRequest, fmt.Errorf("reading the body: %w", err))
	}
	return nil
}

func tooLarge() *failure {
	return &failure{reason: reasonTooLarge, code: http.StatusRequestEntityTooLarge, err: fmt.Errorf("the body has more than %d bytes", maxBody)}
}

// call is an HTTP request and when it came.
type call struct {
	*http.Request
	came time.Time
}

// lookupContext returns a context for what the request makes us ask the API server. It ends
// shortly before the API server stops waiting, which it says in the parameter timeout, so
// that the answer can still tell what took so long. It does not end with the server: a
// request that was let in is answered while the server shuts down.
func (c call) lookupContext() (context.Context, context.CancelFunc) {
	timeout := defaultTimeout
	if query, err := url.ParseQuery(c.URL.RawQuery); err == nil {
		if asked, err := time.ParseDuration(query.Get("timeout")); err == nil && asked > 0 {
			timeout = min(asked, maxTimeout)
		}
	}
	deadline := c.came.Add(timeout * 9 / 10)
	if earlier, ok := c.Context().Deadline(); ok && earlier.Before(deadline) {
		deadline = earlier
	}
	return context.WithDeadline(context.WithoutCancel(c.Context()), deadline)
}
