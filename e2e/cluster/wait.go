package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A wait polls this often, and for this long if its context has no deadline.
const (
	pollInterval   = 50 * time.Millisecond
	defaultTimeout = 3 * time.Minute
)

var errEnded = errors.New("the process has ended")

// WaitFor calls check until it returns nil. The error names what was waited for
// and carries check's last error. Without a deadline in ctx it gives up after
// three minutes.
func (c *Cluster) WaitFor(ctx context.Context, what string, check func(context.Context) error) error {
	return poll(ctx, what, check)
}

func poll(ctx context.Context, what string, check func(context.Context) error) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultTimeout)
		defer cancel()
	}
	var last error
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		err := check(ctx)
		// A check that the end of the wait interrupted says nothing new.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		return err == nil, nil
	})
	if err == nil {
		return nil
	}
	return fmt.Errorf("waiting for %s: %w: %w", what, context.Cause(ctx), last)
}

// WaitForPods waits until exactly n pods that are not being deleted match the
// labels, and returns them.
func (c *Cluster) WaitForPods(ctx context.Context, namespace string, labels map[string]string, n int) ([]corev1.Pod, error) {
	var pods []corev1.Pod
	err := poll(ctx, fmt.Sprintf("%d pods %v in %s", n, labels, namespace), func(ctx context.Context) error {
		var list corev1.PodList
		if err := c.Client.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels(labels)); err != nil {
			return err
		}
		pods = pods[:0]
		for _, pod := range list.Items {
			if pod.DeletionTimestamp == nil {
				pods = append(pods, pod)
			}
		}
		if len(pods) != n {
			return fmt.Errorf("there are %d", len(pods))
		}
		return nil
	})
	return pods, err
}

// WaitForCertificate waits until cert-manager has issued the Certificate in its
// latest generation, and returns it.
func (c *Cluster) WaitForCertificate(ctx context.Context, namespace, name string) (*cmapi.Certificate, error) {
	crt := &cmapi.Certificate{}
	key := types.NamespacedName{Namespace: namespace, Name: name}
	err := poll(ctx, "Certificate "+key.String(), func(ctx context.Context) error {
		if err := c.Client.Get(ctx, key, crt); err != nil {
			return err
		}
		for _, cond := range crt.Status.Conditions {
			if cond.Type != cmapi.CertificateConditionReady {
				continue
			}
			if cond.Status == cmmeta.ConditionTrue && cond.ObservedGeneration == crt.Generation {
				return nil
			}
			return fmt.Errorf("not ready: %s: %s", cond.Reason, cond.Message)
		}
		return errors.New("not ready: no condition yet")
	})
	return crt, err
}

// WaitForIssuer waits until an Issuer or, with an empty namespace, a
// ClusterIssuer is ready to sign.
func (c *Cluster) WaitForIssuer(ctx context.Context, namespace, name string) error {
	var issuer cmapi.GenericIssuer = &cmapi.Issuer{}
	if namespace == "" {
		issuer = &cmapi.ClusterIssuer{}
	}
	key := types.NamespacedName{Namespace: namespace, Name: name}
	return poll(ctx, "issuer "+key.String(), func(ctx context.Context) error {
		if err := c.Client.Get(ctx, key, issuer); err != nil {
			return err
		}
		for _, cond := range issuer.GetStatus().Conditions {
			if cond.Type != cmapi.IssuerConditionReady {
				continue
			}
			if cond.Status == cmmeta.ConditionTrue {
				return nil
			}
			return fmt.Errorf("not ready: %s: %s", cond.Reason, cond.Message)
		}
		return errors.New("not ready: no condition yet")
	})
}
