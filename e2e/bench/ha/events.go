package main

// What happens to the webhook while pods are created.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
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
		for _, r := range e.Pods.Ready() {
			if r == ready[0] {
				return errors.New("it is not")
			}
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
	return e.renew(ctx, release.Name+"-webhook")
}

// renewCA renews the CA, and then what it signed, as cert-manager does in their time.
func (e *events) renewCA(ctx context.Context) error {
	if err := e.renew(ctx, release.Name+"-webhook-root"); err != nil {
		return err
	}
	before, err := e.caBundle(ctx)
	if err != nil {
		return err
	}
	if err := e.renewServing(ctx); err != nil {
		return err
	}
	return e.awaitOtherBundle(ctx, before)
}

// renew does what cmctl renew does, and waits for the next revision.
func (e *events) renew(ctx context.Context, name string) error {
	cert := &cmapi.Certificate{}
	key := client.ObjectKey{Namespace: release.Namespace, Name: name}
	if err := e.Client.Get(ctx, key, cert); err != nil {
		return fmt.Errorf("getting Certificate %s: %w", name, err)
	}
	revision := 0
	if cert.Status.Revision != nil {
		revision = *cert.Status.Revision
	}
	apiutil.SetCertificateCondition(cert, cert.Generation, cmapi.CertificateConditionIssuing, cmmeta.ConditionTrue, "ManuallyTriggered", "renewed by bench/ha")
	if err := e.Client.Status().Update(ctx, cert); err != nil {
		return fmt.Errorf("asking for Certificate %s anew: %w", name, err)
	}
	return e.WaitFor(ctx, "Certificate "+name+" to be issued anew", func(ctx context.Context) error {
		if err := e.Client.Get(ctx, key, cert); err != nil {
			return err
		}
		if cert.Status.Revision == nil || *cert.Status.Revision <= revision {
			return errors.New("it is not")
		}
		return nil
	})
}

// deleteCA makes the webhook make another CA.
func (e *events) deleteCA(ctx context.Context) error {
	before, err := e.caBundle(ctx)
	if err != nil {
		return err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: release.Namespace, Name: release.Name + "-webhook-ca"}}
	if err := e.Client.Delete(ctx, secret); err != nil {
		return fmt.Errorf("deleting the CA: %w", err)
	}
	return e.awaitOtherBundle(ctx, before)
}

func (e *events) caBundle(ctx context.Context) ([]byte, error) {
	var config admissionv1.MutatingWebhookConfiguration
	if err := e.Client.Get(ctx, client.ObjectKey{Name: release.Name}, &config); err != nil {
		return nil, fmt.Errorf("getting the webhook configuration: %w", err)
	}
	if len(config.Webhooks) == 0 {
		return nil, errors.New("the webhook configuration is empty")
	}
	return config.Webhooks[0].ClientConfig.CABundle, nil
}

func (e *events) awaitOtherBundle(ctx context.Context, before []byte) error {
	return e.WaitFor(ctx, "the API server to be told another CA", func(ctx context.Context) error {
		now, err := e.caBundle(ctx)
		if err == nil && bytes.Equal(now, before) {
			err = errors.New("it is the one from before")
		}
		return err
	})
}

func (e *events) changeConfig(ctx context.Context) error {
	_, err := e.Upgrade(ctx, "--reuse-values", "--set", "config.preStop.seconds=7")
	return err
}
