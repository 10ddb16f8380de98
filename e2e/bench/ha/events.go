package main

// What happens to the webhook while pods are created.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/release"
)

// kindCrash marks what no server can make good: requests that it had taken.
const kindCrash = "crash"

// settleTimeout is how long an event may take until all is as before.
const settleTimeout = time.Minute

type event struct {
	kind, name string
	do         func(context.Context) error
}

// happened is an event that is over.
type happened struct {
	kind, name string
	at         time.Time
	took       time.Duration
}

type events struct {
	*release.Stage
	began       time.Time
	duration    time.Duration
	selfManaged bool
	progress    func(string)
	done        []happened
}

// all are the events, in their order.
func (e *events) all() []event {
	list := []event{
		{"stop", "a replica is deleted (SIGTERM) and replaced", e.deletePod},
		{kindCrash, "a replica crashes (SIGKILL) and is started again", e.crash},
		{"roll", "both replicas are rolled (kubectl rollout restart)", e.roll},
		{"serving", "the serving certificate is renewed", e.renewServing},
		{"ca", "the CA of the serving certificate is renewed", e.renewCA},
		{"config", "the configuration is changed (helm upgrade)", e.changeConfig},
		{"apiserver", "the API server restarts", func(context.Context) error { return e.RestartAPIServer() }},
	}
	if e.selfManaged {
		// The leaf is renewed with its CA.
		return append(list[:3:3], event{"ca", "the CA's Secret is deleted, and made anew", e.deleteCA}, list[5], list[6])
	}
	return list
}

// run has the events happen, each after its share of the time.
func (e *events) run(ctx context.Context) error {
	list := e.all()
	for i, event := range list {
		due := e.began.Add(e.duration * time.Duration(i+1) / time.Duration(len(list)+2))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Until(due)):
		}
		e.progress(fmt.Sprintf("%5.1f s: %s", time.Since(e.began).Seconds(), event.name))
		at := time.Now()
		settling, cancel := context.WithTimeout(ctx, settleTimeout)
		err := event.do(settling)
		if err == nil {
			err = e.WaitFor(settling, "both replicas to serve", e.bothServe)
		}
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", event.name, err)
		}
		e.done = append(e.done, happened{event.kind, event.name, at, time.Since(at)})
	}
	return nil
}

func (e *events) bothServe(context.Context) error {
	if n := len(e.Pods.Ready()); n != replicas {
		return fmt.Errorf("%d do", n)
	}
	return nil
}

func (e *events) deletePod(ctx context.Context) error {
	ready := e.Pods.Ready()
	if len(ready) == 0 {
		return errors.New("there is none")
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: release.Namespace, Name: ready[0].Pod}}
	if err := e.Client.Delete(ctx, pod); err != nil {
		return fmt.Errorf("deleting %s: %w", pod.Name, err)
	}
	return e.WaitFor(ctx, pod.Name+" to go", func(ctx context.Context) error {
		err := e.Client.Get(ctx, client.ObjectKeyFromObject(pod), pod)
		if err == nil {
			return errors.New("it is there")
		}
		return client.IgnoreNotFound(err)
	})
}

func (e *events) crash(ctx context.Context) error {
	ready := e.Pods.Ready()
	if len(ready) == 0 {
		return errors.New("there is none")
	}
	if err := ready[0].Kill(); err != nil {
		return err
	}
	return e.WaitFor(ctx, "the crash to be seen", func(context.Context) error {
		if slices.Contains(e.Pods.Ready(), ready[0]) {
			return errors.New("it is not")
		}
		return nil
	})
}

func (e *events) roll(ctx context.Context) error {
	for _, args := range [][]string{
		{"rollout", "restart", "deployment/" + release.Name, "-n", release.Namespace},
		{"rollout", "status", "deployment/" + release.Name, "-n", release.Namespace, "--timeout", "1m"},
	} {
		cmd := exec.CommandContext(ctx, e.Kubectl, args...) //nolint:gosec // kubectl of the cluster's version
		cmd.Env = append(os.Environ(), "KUBECONFIG="+e.Kubeconfig)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("kubectl %v: %w: %s", args, err, out)
		}
	}
	return nil
}

func (e *events) renewServing(ctx context.Context) error {
	return e.Renew(ctx, release.Name+"-webhook")
}

// renewCA renews the CA, and then what it signed, as cert-manager does in their time.
func (e *events) renewCA(ctx context.Context) error {
	const root = release.Name + "-webhook-root"
	if err := e.Renew(ctx, root); err != nil {
		return err
	}
	if err := e.renewServing(ctx); err != nil {
		return err
	}
	return e.AwaitTrust(ctx, e.CAOf(root))
}

// deleteCA makes the webhook make another CA.
func (e *events) deleteCA(ctx context.Context) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: release.Namespace, Name: release.Name + "-webhook-ca"}}
	if err := e.Client.Delete(ctx, secret); err != nil {
		return fmt.Errorf("deleting the CA: %w", err)
	}
	return e.AwaitTrust(ctx, e.CAOf(secret.Name))
}

func (e *events) changeConfig(ctx context.Context) error {
	_, err := e.Upgrade(ctx, "--reuse-values", "--set", "config.preStop.seconds=7")
	return err
}
