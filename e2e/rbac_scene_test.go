package e2e

// One injector after the other, in a cluster of their own.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
)

const rbacFolder = "testdata/rbac"

// rbacScene runs one injector at a time, with leader election.
type rbacScene struct {
	*cluster.Cluster
	// test is the whole test, whose parts end before the scene does.
	test    *testing.T
	options cluster.WebhookOptions
	// logFile is where all the injectors log, one after the other.
	logFile string
	// injector is the one that is ready; nil while it is starting.
	injector *cluster.Webhook
	// starting gives the injector that has been started, once it is ready.
	starting <-chan started
	// isCalled says that the API server calls it.
	isCalled bool
	// waiting has a companion that waits for its issuer from the beginning on.
	waiting *companions
}

type started struct {
	*cluster.Webhook
	err error
}

// newRBACScene starts a cluster, whose API server does not stream lists, as those up to 1.33:
// the injector has to list what it watches.
func newRBACScene(t *testing.T) *rbacScene {
	t.Helper()
	logs := t.TempDir()
	s := &rbacScene{test: t, logFile: filepath.Join(logs, injectorUser+".log")}
	s.Cluster = clustertest.New(t, cluster.Options{
		LogDir: logs, AuditPolicy: []byte(rbacAuditPolicy),
		ExtraAPIServerArgs: map[string][]string{"feature-gates": {"WatchList=false"}},
	})
	binary, err := injectorBinary()
	require.NoError(t, err)
	kubeconfig, err := s.KubeconfigForUser(injectorUser)
	require.NoError(t, err)
	s.options = cluster.WebhookOptions{
		Binary: binary, Kubeconfig: kubeconfig, Unregistered: true, Config: rbacFolder + "/injector.yaml",
		Args: []string{"--drain-delay=0s", "--leader-elect", "--leader-elect-namespace", leaseKey.Namespace},
	}
	s.start()
	s.waiting = s.newCompanions(t, nil)
	s.waiting.makeWorkload("Pod")
	return s
}

// start starts an injector, and does not wait for it.
func (s *rbacScene) start() {
	ready := make(chan started, 1)
	go func() {
		w, err := s.RunWebhook(s.test.Context(), s.options)
		ready <- started{w, err}
	}()
	s.starting = ready
}

// isReady is an error while the injector is not.
func (s *rbacScene) isReady(context.Context) error {
	if s.injector != nil {
		return nil
	}
	select {
	case now := <-s.starting:
		s.starting = nil
		if now.err == nil {
			s.injector = now.Webhook
		}
		return now.err
	default:
		return errors.New("the injector is not ready")
	}
}

// hasLooked is in the metrics of an injector that leads and has looked at a companion.
var hasLooked = regexp.MustCompile(`(?m)^mtls_injector_companion_reconciles_total\{.*\} [1-9]`)

// isAtWork is an error while the injector does not look at companions, of which there is
// always one.
func (s *rbacScene) isAtWork(ctx context.Context) error {
	if err := s.isReady(ctx); err != nil {
		return err
	}
	// Until it knows all companions, it does not tell of them.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.injector.MetricsURL+"/metrics", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(response.Body)
	if err == nil && s.waiting != nil && !hasLooked.Match(text) {
		err = errors.New("the injector has not looked at any companion")
	}
	return errors.Join(err, response.Body.Close())
}

// stop ends the injector, which gives its Lease up.
func (s *rbacScene) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, s.WaitFor(t.Context(), "the injector to be ready", s.isReady))
	require.NoError(t, s.injector.Stop())
	s.injector, s.isCalled = nil, false
}

// restart starts an injector in place of the one that runs, if one does.
func (s *rbacScene) restart(t *testing.T) {
	t.Helper()
	if s.injector != nil || s.starting != nil {
		s.stop(t)
	}
	s.start()
}

// serve waits until the injector leads and the API server calls it.
func (s *rbacScene) serve(t *testing.T) {
	t.Helper()
	if s.injector == nil && s.starting == nil {
		s.start() // after one that could not
	}
	require.NoError(t, s.WaitFor(t.Context(), "the injector to be at work", s.isAtWork))
	if s.isCalled {
		return
	}
	require.NoError(t, s.injector.Register(t.Context()))
	namespace := clustertest.Namespace(t, s.Cluster, nil)
	require.NoError(t, s.WaitFor(t.Context(), "the webhook to be called", func(ctx context.Context) error {
		before := total(t, s.injector)
		if err := s.Client.Create(ctx, podWith(namespace, nil), client.DryRunAll); err != nil {
			return err
		}
		if total(t, s.injector) == before {
			return errors.New("it is not")
		}
		return nil
	}))
	s.isCalled = true
}

// newCompanions makes a namespace in which the injector works. It has no issuer yet.
func (s *rbacScene) newCompanions(t *testing.T, annotations map[string]string) *companions {
	t.Helper()
	s.serve(t)
	return &companions{T: t, Cluster: s.Cluster, webhook: s.injector, namespace: clustertest.Namespace(t, s.Cluster, annotations)}
}

// logs is an error until an injector has logged the text, from a place in the log on.
func (s *rbacScene) logs(from int64, text string) error {
	data, err := os.ReadFile(s.logFile)
	if err != nil {
		return err
	}
	// Quotes are escaped within JSON, once or twice.
	if !bytes.Contains(bytes.ReplaceAll(data[from:], []byte(`\`), nil), []byte(text)) {
		return fmt.Errorf("the injector does not log %q", text)
	}
	return nil
}
