package agent

// Reloading by a URL of the pod's own.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// URLReloader sends a POST to a port of the pod.
type URLReloader struct {
	target *url.URL
	client *http.Client
}

// NewURLReloader takes a URL of http on localhost: whoever sets an annotation is not to
// have the agent call anything else.
func NewURLReloader(text string) (*URLReloader, error) {
	const timeout = 5 * time.Second
	target, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the reload URL: %w", err)
	}
	if target.Scheme != "http" || target.User != nil {
		return nil, fmt.Errorf("the reload URL must be like http://localhost:8080/reload, not %q", target.Redacted())
	}
	host := target.Hostname()
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("the reload URL must be on localhost, not on %q", host)
	}
	return &URLReloader{target: target, client: &http.Client{
		Timeout:   timeout,
		Transport: &http.Transport{DisableKeepAlives: true}, // and no proxy
		// An answer that leads elsewhere is an answer.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// String says what is done.
func (r *URLReloader) String() string { return "POST " + r.target.String() }

// RanBefore says whether something listens already. Then it may have missed a change.
func (r *URLReloader) RanBefore(ctx context.Context) bool {
	port := r.target.Port()
	if port == "" {
		port = "80"
	}
	connection, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", net.JoinHostPort(r.target.Hostname(), port))
	if err != nil {
		return false
	}
	_ = connection.Close()
	return true
}

// Reload sends the request; the answer must be one of 2xx.
func (r *URLReloader) Reload(ctx context.Context) error {
	const excerpt = 200
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.target.String(), nil)
	if err != nil {
		return err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(response.Body, excerpt))
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("POST %s: %w", r.target, errors.New(strings.TrimSpace(response.Status+" "+string(body))))
	}
	return err
}
