package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
)

// ProgramOptions describe a program to run beside the cluster.
type ProgramOptions struct {
	// Name is the log file's, too; programs of one name share it.
	Name string
	Path string
	Args []string
	// Env is the whole environment, as NAME=value.
	Env []string
	// Ready succeeds once the program does what it is for.
	Ready func(context.Context) error
}

// Program is a running program. It dies with this one.
type Program struct{ process *process }

// StartProgram starts a program and waits until it is ready. The caller stops it.
func (c *Cluster) StartProgram(ctx context.Context, opts ProgramOptions) (*Program, error) {
	env := opts.Env
	if env == nil {
		env = []string{} // nil would mean ours
	}
	p, err := c.startProcessWith(opts.Name, env, opts.Path, opts.Args...)
	if err != nil {
		return nil, err
	}
	if err := p.ready(ctx, opts.Ready); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return &Program{process: p}, nil
}

// Stop ends the program: politely, then by force, which is an error.
func (p *Program) Stop() error { return p.process.stop() }

// Kill ends the program as a crash does, and returns when it has ended.
func (p *Program) Kill() error { return p.process.kill() }

// Done is closed when the program has ended.
func (p *Program) Done() <-chan struct{} { return p.process.done }

// Get succeeds if the URL answers 200.
func Get(ctx context.Context, url string) error { return get(ctx, url) }

// FreePorts finds n different ports of 127.0.0.1 that nobody listens on now.
func FreePorts(ctx context.Context, n int) ([]string, error) { return freePorts(ctx, n) }

// KubeconfigForPod makes a kubeconfig with which a process is the pod's service account, by a
// token bound to the pod, as the kubelet mounts it. The token is good for an hour.
func (c *Cluster) KubeconfigForPod(ctx context.Context, pod *corev1.Pod) (string, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: ptr.To[int64](3600),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = pod.Namespace, pod.Spec.ServiceAccountName
	if err := c.Client.SubResource("token").Create(ctx, account, request); err != nil {
		return "", fmt.Errorf("making a token for pod %s: %w", pod.Name, err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["cluster"] = &clientcmdapi.Cluster{Server: c.Config.Host, CertificateAuthorityData: c.Config.CAData}
	if !strings.Contains(c.Config.Host, "://") {
		config.Clusters["cluster"].Server = "https://" + c.Config.Host
	}
	config.AuthInfos["pod"] = &clientcmdapi.AuthInfo{Token: request.Status.Token}
	config.Contexts["pod"] = &clientcmdapi.Context{Cluster: "cluster", AuthInfo: "pod", Namespace: pod.Namespace}
	config.CurrentContext = "pod"
	file, err := os.CreateTemp(c.dir, "pod-*.kubeconfig") // mode 0600
	if err != nil {
		return "", fmt.Errorf("making a kubeconfig for pod %s: %w", pod.Name, err)
	}
	path := file.Name()
	if err := file.Close(); err != nil {
		return "", err
	}
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return "", fmt.Errorf("writing the kubeconfig for pod %s: %w", pod.Name, err)
	}
	return path, nil
}
