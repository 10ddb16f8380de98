package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// logged is a line of the audit log, as kube-apiserver writes it.
func logged(id, verb, uri, objectRef string) string {
	if objectRef != "" {
		objectRef = `,"objectRef":` + objectRef
	}
	return `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"` + id + `","stage":"ResponseComplete",` +
		`"requestURI":"` + uri + `","verb":"` + verb + `","user":{"username":"mtls-injector"}` + objectRef +
		`,"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-01-02T03:04:05.600000Z"}` + "\n"
}

func TestWhatARequestCountsAs(t *testing.T) {
	for name, tc := range map[string]struct {
		line string
		want asked
	}{
		"apply": {logged("1", "patch", "/apis/cert-manager.io/v1/namespaces/a/certificates/web-mtls?fieldManager=mtls-injector",
			`{"resource":"certificates","namespace":"a","name":"web-mtls","apiGroup":"cert-manager.io","apiVersion":"v1"}`),
			asked{classWrite, "patch", "certificates.cert-manager.io"}},
		"subresource": {logged("1", "update", "/u", `{"resource":"certificates","apiGroup":"cert-manager.io","subresource":"status"}`),
			asked{classWrite, "update", "certificates.cert-manager.io/status"}},
		"delete": {logged("1", "delete", "/u", `{"resource":"secrets"}`), asked{classWrite, "delete", "secrets"}},
		"event":  {logged("1", "create", "/u", `{"resource":"events","namespace":"a","apiGroup":"events.k8s.io"}`), asked{classWrite, "create", "events.events.k8s.io"}},
		"get":    {logged("1", "get", "/u", `{"resource":"replicasets","apiGroup":"apps"}`), asked{classRead, "get", "replicasets.apps"}},
		"list":   {logged("1", "list", "/u", `{"resource":"pods"}`), asked{classRead, "list", "pods"}},
		"path":   {logged("1", "get", "/apis?timeout=32s", ""), asked{classRead, "get", "/apis"}},
		"first watch": {logged("1", "watch", "/api/v1/pods?allowWatchBookmarks=true&sendInitialEvents=true&watch=true", `{"resource":"pods"}`),
			asked{classRead, "watch-list", "pods"}},
		"reopened watch": {logged("1", "watch", "/api/v1/pods?allowWatchBookmarks=true&resourceVersion=7&watch=true", `{"resource":"pods"}`),
			asked{classWatch, "watch", "pods"}},
		"lease":          {logged("1", "update", "/u", `{"resource":"leases","namespace":"mtls-injector","apiGroup":"coordination.k8s.io"}`), asked{classElection, "update", "leases.coordination.k8s.io"}},
		"election event": {logged("1", "create", "/u", `{"resource":"events","namespace":"mtls-injector"}`), asked{classElection, "create", "events"}},
		"review":         {logged("1", "create", "/u", `{"resource":"subjectaccessreviews","apiGroup":"authorization.k8s.io"}`), asked{classReview, "create", "subjectaccessreviews.authorization.k8s.io"}},
		"token review":   {logged("1", "create", "/u", `{"resource":"tokenreviews","apiGroup":"authentication.k8s.io"}`), asked{classReview, "create", "tokenreviews.authentication.k8s.io"}},
	} {
		t.Run(name, func(t *testing.T) {
			requests, read, err := parseAudit(strings.NewReader(tc.line), map[string]bool{})
			require.NoError(t, err)
			at := time.Date(2026, 1, 2, 3, 4, 5, 600e6, time.UTC)
			assert.Equal(t, []request{{tc.want, at}}, requests)
			assert.EqualValues(t, len(tc.line), read)
		})
	}
}

// A watch is logged when it begins and when it ends.
func TestARequestIsCountedOnce(t *testing.T) {
	log := logged("1", "watch", "/u", `{"resource":"pods"}`) + logged("2", "list", "/u", `{"resource":"pods"}`) + "\n" +
		logged("1", "watch", "/u", `{"resource":"pods"}`)
	known := map[string]bool{"2": true}
	requests, read, err := parseAudit(strings.NewReader(log), known)
	require.NoError(t, err)
	require.Len(t, requests, 1)
	assert.Equal(t, "watch", requests[0].verb)
	assert.EqualValues(t, len(log), read)
	assert.Equal(t, map[string]bool{"1": true, "2": true}, known)
}

func TestBadAuditLog(t *testing.T) {
	_, _, err := parseAudit(strings.NewReader("{\n"), map[string]bool{})
	assert.EqualError(t, err, "reading the audit log: unexpected end of JSON input")
	_, _, err = parseAudit(iotest.ErrReader(errors.New("gone")), map[string]bool{})
	assert.EqualError(t, err, "reading the audit log: gone")
	assert.ErrorIs(t, (&auditLog{path: "/nowhere/audit.log"}).read(), os.ErrNotExist)
}

// TestAuditLogGrows: what was half written is read when it is complete, and nothing twice.
func TestAuditLogGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	first, second := logged("1", "get", "/u", `{"resource":"pods"}`), logged("2", "patch", "/u", `{"resource":"pods"}`)
	write := func(text string) {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		require.NoError(t, err)
		_, err = io.WriteString(file, text)
		require.NoError(t, err)
		require.NoError(t, file.Close())
	}
	log := &auditLog{path: path}
	at := time.Date(2026, 1, 2, 3, 4, 5, 600e6, time.UTC)
	read := asked{classRead, "get", "pods"}
	write(first + second[:40])
	got, err := log.between(at, at.Add(1))
	require.NoError(t, err)
	assert.Equal(t, counts{read: 1}, got)
	write(second[40:])
	got, err = log.between(at, at.Add(1))
	require.NoError(t, err)
	assert.Equal(t, counts{read: 1, {classWrite, "patch", "pods"}: 1}, got)
}

func TestClassNames(t *testing.T) {
	for class, want := range map[class]string{
		classWrite: "write", classRead: "read", classWatch: "watch", classElection: "leader election", classReview: "review",
	} {
		assert.Equal(t, want, class.String())
	}
}
