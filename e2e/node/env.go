package node

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Env returns the container's environment as NAME=value, in the order of its spec:
// envFrom, then env with $(NAME) expanded. Of fieldRef it knows what a pod without a
// kubelet has; resourceFieldRef it does not know.
func (n *Node) Env(ctx context.Context, pod *corev1.Pod, container string) ([]string, error) {
	c, err := findContainer(pod, container)
	if err != nil {
		return nil, err
	}
	vars, err := n.environment(ctx, pod, c)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(vars.names))
	for _, name := range vars.names {
		out = append(out, name+"="+vars.values[name])
	}
	return out, nil
}

// variables are a growing environment.
type variables struct {
	names  []string // in order of first appearance
	values map[string]string
}

func (v *variables) set(name, value string) {
	if _, ok := v.values[name]; !ok {
		v.names = append(v.names, name)
	}
	v.values[name] = value
}

// reference matches $(NAME), and $$ which stands for one dollar sign.
var reference = regexp.MustCompile(`\$\$|\$\([^)]*\)`)

// expand replaces references to variables that are already known. Others stay.
func (v *variables) expand(value string) string {
	return reference.ReplaceAllStringFunc(value, func(match string) string {
		if match == "$$" {
			return "$"
		}
		known, ok := v.values[match[2:len(match)-1]]
		if !ok {
			return match
		}
		return known
	})
}

func (n *Node) environment(ctx context.Context, pod *corev1.Pod, c *corev1.Container) (variables, error) {
	vars := variables{values: map[string]string{}}
	for _, source := range c.EnvFrom {
		if err := n.envFrom(ctx, pod, source, &vars); err != nil {
			return vars, fmt.Errorf("envFrom of container %s: %w", c.Name, err)
		}
	}
	for _, env := range c.Env {
		if env.ValueFrom == nil {
			vars.set(env.Name, vars.expand(env.Value))
			continue
		}
		value, ok, err := n.valueFrom(ctx, pod, env.ValueFrom)
		if err != nil {
			return vars, fmt.Errorf("variable %s of container %s: %w", env.Name, c.Name, err)
		}
		if ok {
			vars.set(env.Name, value)
		}
	}
	return vars, nil
}

func (n *Node) envFrom(ctx context.Context, pod *corev1.Pod, source corev1.EnvFromSource, vars *variables) error {
	files := filesOf{}
	var err error
	switch {
	case source.SecretRef != nil:
		err = n.secret(ctx, files, pod.Namespace, source.SecretRef.Name, nil, defaultMode, isTrue(source.SecretRef.Optional))
	case source.ConfigMapRef != nil:
		err = n.configMap(ctx, files, pod.Namespace, source.ConfigMapRef.Name, nil, defaultMode, isTrue(source.ConfigMapRef.Optional))
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		vars.set(source.Prefix+name, string(files[name].Data))
	}
	return err
}

// valueFrom returns a variable's value, and whether there is one: what is optional
// may be absent.
func (n *Node) valueFrom(ctx context.Context, pod *corev1.Pod, source *corev1.EnvVarSource) (string, bool, error) {
	switch {
	case source.FieldRef != nil:
		value, err := fieldValue(pod, source.FieldRef.FieldPath)
		return value, err == nil, err
	case source.SecretKeyRef != nil:
		ref := source.SecretKeyRef
		var secret corev1.Secret
		err := n.Client.Get(ctx, types.NamespacedName{Namespace: pod.Namespace, Name: ref.Name}, &secret)
		value, ok := secret.Data[ref.Key]
		return keyValue("Secret", ref.Name, ref.Key, string(value), ok, isTrue(ref.Optional), err)
	case source.ConfigMapKeyRef != nil:
		ref := source.ConfigMapKeyRef
		var cm corev1.ConfigMap
		err := n.Client.Get(ctx, types.NamespacedName{Namespace: pod.Namespace, Name: ref.Name}, &cm)
		value, ok := cm.Data[ref.Key]
		return keyValue("ConfigMap", ref.Name, ref.Key, value, ok, isTrue(ref.Optional), err)
	default:
		return "", false, errors.New("this source of a value is not supported here")
	}
}

func keyValue(kind, name, key, value string, found, optional bool, err error) (string, bool, error) {
	switch {
	case client.IgnoreNotFound(err) != nil, err != nil && !optional:
		return "", false, fmt.Errorf("%s %s: %w", kind, name, err)
	case !found && !optional:
		return "", false, fmt.Errorf("%s %s has no key %s", kind, name, key)
	default:
		return value, found, nil
	}
}

// mapField matches a field of labels or annotations.
var mapField = regexp.MustCompile(`^metadata\.(labels|annotations)\['(.*)'\]$`)

// fieldValue returns what a fieldRef or the downward API stands for.
func fieldValue(pod *corev1.Pod, path string) (string, error) {
	if match := mapField.FindStringSubmatch(path); match != nil {
		if match[1] == "labels" {
			return pod.Labels[match[2]], nil
		}
		return pod.Annotations[match[2]], nil
	}
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP":
		return pod.Status.HostIP, nil
	case "status.podIP":
		return pod.Status.PodIP, nil
	case "status.podIPs":
		ips := make([]string, 0, len(pod.Status.PodIPs))
		for _, ip := range pod.Status.PodIPs {
			ips = append(ips, ip.IP)
		}
		return strings.Join(ips, ","), nil
	default:
		return "", fmt.Errorf("field %s is not supported here", path)
	}
}

// Expand replaces $(NAME) in a container's arguments, as the kubelet does. env holds NAME=value.
func Expand(args, env []string) []string {
	var pairs []string
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		pairs = append(pairs, "$("+name+")", value)
	}
	replace := strings.NewReplacer(pairs...)
	expanded := make([]string, len(args))
	for i, arg := range args {
		expanded[i] = replace.Replace(arg)
	}
	return expanded
}
