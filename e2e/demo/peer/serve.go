package peer

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// Server requires client certificates and answers every request with a [Reply].
type Server struct {
	Files
	Listen string
	// LoadOnce keeps the files as they are when the server starts, as programs do that
	// have to be restarted for a new certificate.
	LoadOnce bool
	// Upstream, if set, is called once per request.
	Upstream *Client
}

// RegisterServe adds the flags of the examples' Go server. What they leave out is taken
// from the variables MTLS_SERVER_CERT, MTLS_SERVER_KEY and MTLS_CA_CERT. A server that
// finds UPSTREAM_URL among its variables calls it.
func RegisterServe(flags *flag.FlagSet, getenv func(string) string) *Server {
	s := &Server{}
	connect := registerCommon(flags, &s.Root)
	flags.StringVar(&s.Listen, "listen", ":8443", "`address` to listen on")
	flags.BoolVar(&s.LoadOnce, "load-once", false, "read the files at the start only")
	flags.StringVar(&s.Cert, "cert", getenv("MTLS_SERVER_CERT"), "certificate `file`")
	flags.StringVar(&s.Key, "key", getenv("MTLS_SERVER_KEY"), "key `file`")
	flags.StringVar(&s.CA, "client-ca", getenv("MTLS_CA_CERT"), "`file` of CA certificates for clients")
	if url := getenv("UPSTREAM_URL"); url != "" {
		s.Upstream = newClient(getenv)
		s.Upstream.URL, s.Upstream.Connect = url, connect
	}
	return s
}

// drainTimeout bounds how long a server that is to end answers what has begun.
const drainTimeout = 5 * time.Second

// Started is the first line that a server prints.
type Started struct {
	Address string `json:"address"`
}

// Run serves until ctx ends. It prints a [Started] to out, and handshakes that failed
// to logs.
func (s *Server) Run(ctx context.Context, out, logs io.Writer) error {
	first, err := s.config()
	if err != nil {
		return err
	}
	config := first
	if !s.LoadOnce {
		config = &tls.Config{
			MinVersion:         tls.VersionTLS13,
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.config() },
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(s.reply),
		TLSConfig:         config,
		ErrorLog:          log.New(logs, "", 0),
		ReadHeaderTimeout: 10 * time.Second,
	}
	// Requests that have begun are answered.
	drained := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(drained)
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		if server.Shutdown(last) != nil {
			_ = server.Close()
		}
	})
	defer stop()
	if err := json.NewEncoder(out).Encode(Started{Address: listener.Addr().String()}); err != nil {
		return errors.Join(fmt.Errorf("telling the address: %w", err), listener.Close())
	}
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	<-drained
	return nil
}

// config is made of the files as they are; usually for each connection.
func (s *Server) config() (*tls.Config, error) {
	pair, err := s.load()
	if err != nil {
		return nil, err
	}
	clients, err := s.trust()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{*pair},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    clients,
	}, nil
}

func (s *Server) reply(w http.ResponseWriter, r *http.Request) {
	reply := Reply{Caller: identityOf(r.TLS)}
	if s.Upstream != nil {
		upstream := *s.Upstream
		upstream.Root = s.Root // the same container's
		outcome := upstream.Call(r.Context())
		reply.Upstream = &outcome
	}
	w.Header().Set("Content-Type", "application/json")
	// The caller sees a reply that breaks off; there is nobody else to tell.
	_ = json.NewEncoder(w).Encode(reply)
}
