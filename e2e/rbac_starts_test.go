package e2e

// What an injector does when it starts.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// stopped ends the injector while it has the rights to give its Lease up.
func stopped(t *testing.T, s *rbacScene) {
	t.Helper()
	s.serve(t)
	s.stop(t)
}

// start starts the injector. It does not get ready without knowing all Namespaces and
// Services, and does not work without the rest, or its Lease.
func start(t *testing.T, s *rbacScene) use {
	t.Helper()
	stopped(t, s)
	return use{act: func() { s.restart(t) }, works: s.isAtWork}
}

// firstStart is start where nobody has led yet.
func firstStart(t *testing.T, s *rbacScene) use {
	t.Helper()
	stopped(t, s)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: leaseKey.Namespace, Name: leaseKey.Name}}
	require.NoError(t, s.Client.Delete(t.Context(), lease))
	return use{act: func() { s.restart(t) }, works: s.isAtWork}
}

// startToldOf is start, with an Event beside the Lease that says who leads.
func startToldOf(t *testing.T, s *rbacScene) use {
	t.Helper()
	stopped(t, s)
	told := func(ctx context.Context) error {
		if err := s.isAtWork(ctx); err != nil {
			return err
		}
		var lease coordinationv1.Lease
		var events corev1.EventList
		err := errors.Join(s.Client.Get(ctx, leaseKey, &lease), s.Client.List(ctx, &events, client.InNamespace(leaseKey.Namespace)))
		if err != nil {
			return err
		}
		for _, event := range events.Items {
			if event.Reason == "LeaderElection" && strings.HasPrefix(event.Message, *lease.Spec.HolderIdentity+" ") {
				return nil
			}
		}
		return fmt.Errorf("no Event says that %s leads", *lease.Spec.HolderIdentity)
	}
	return use{act: func() { s.restart(t) }, works: told, once: true}
}

// startFollowing is start, and then following a resource by a watch. Without it the
// injector asks for all of it again and again, and less and less often.
func startFollowing(group, resource string) useMaker {
	return func(t *testing.T, s *rbacScene) use {
		t.Helper()
		stopped(t, s)
		from := size(t, s.AuditLog)
		follows := func(ctx context.Context) error {
			if err := s.isAtWork(ctx); err != nil {
				return err
			}
			all := askings(t, s.Cluster, from)
			if count(all, right{verb: "watch", group: group, resource: resource}) == 0 {
				return fmt.Errorf("nobody watches %s, listed %d times", resource, count(all, right{verb: "list", group: group, resource: resource}))
			}
			return nil
		}
		return use{act: func() { s.restart(t) }, works: follows}
	}
}

// sweep cleans up after a workload that has gone while no injector was running.
func sweep(t *testing.T, s *rbacScene) use {
	t.Helper()
	c, w := issuedPod(t, s)
	s.stop(t)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: w.key.Name}}
	require.NoError(t, s.Client.Delete(t.Context(), pod))
	require.NoError(t, s.WaitFor(t.Context(), "the garbage collector", func(ctx context.Context) error {
		err := c.hasCompanion(ctx, w)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, errors.New("the Certificate is there"))
	}))
	return use{act: func() { s.restart(t) }, once: true, works: func(ctx context.Context) error {
		return errors.Join(s.isAtWork(ctx), c.absent(ctx, w.companion.Name))
	}}
}

// missingIssuer is told of after half a minute, with the reason that stands in the
// CertificateRequest.
func missingIssuer(t *testing.T, s *rbacScene) use {
	t.Helper()
	s.serve(t)
	c := s.waiting
	w := c.of(corev1.SchemeGroupVersion.WithKind("Pod"), "alone")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	require.NoError(t, s.WaitFor(ctx, "the issuer's time to be over", func(ctx context.Context) error {
		return s.waiting.isTold(ctx, w, "IssuerNotReady")
	}))
	s.stop(t)
	all := &client.DeleteAllOfOptions{}
	all.Namespace = c.namespace
	require.NoError(t, s.Client.DeleteAllOf(t.Context(), &eventsv1.Event{}, all))
	return use{act: func() { s.restart(t) }, works: func(ctx context.Context) error { return c.isTold(ctx, w, "IssuerNotReady") }}
}
