package kube

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/config"
	"example.io/mtls-injector/intent"
)

// PurposeConfiguration is what the [Gap] says that is left when the configuration is hidden.
const PurposeConfiguration = "the injector's configuration"

const (
	// Product is what the chart calls itself, and its page the release and its namespace.
	Product          = "mtls-injector"
	labelName        = "app.kubernetes.io/name"
	configurationKey = "config.yaml"
)

// Configuration is the injector's, as far as it can be known.
type Configuration struct {
	Defaults *intent.Defaults
	// Source says for people where it comes from.
	Source string
	// Known says whether it is the cluster's; else Defaults are the built-in ones.
	Known bool
	// Hidden says that it is not known because the user may not read it.
	Hidden bool
	// Object is the ConfigMap that the chart installed; nil where it is not known.
	Object *corev1.ConfigMap
}

// Configuration finds the injector's configuration: the file of --config, or the ConfigMap
// of the release in the cluster. Where it cannot be known the built-in defaults stand in, and
// the source says so. It is for the version of Kubernetes that the cluster has.
func (c *Cluster) Configuration(ctx context.Context) (*Configuration, error) {
	found, err := c.configuration(ctx)
	if err != nil || c.Config == nil {
		return found, err
	}
	asker, err := discovery.NewDiscoveryClientForConfig(c.Config)
	if err != nil {
		return nil, fmt.Errorf("the cluster's version: %w", err)
	}
	version, err := asker.ServerVersion()
	if err != nil {
		return nil, fmt.Errorf("the cluster's version: %w", err)
	}
	found.Defaults.Kubernetes, err = intent.ParseKubernetesVersion(version.GitVersion)
	return found, err
}

func (c *Cluster) configuration(ctx context.Context) (*Configuration, error) {
	file, namespace := "", ""
	if c.flags != nil {
		file, namespace = c.flags.ConfigFile, c.flags.InjectorNamespace
	}
	if file != "" {
		defaults, err := config.Load(file)
		if err != nil {
			return nil, err
		}
		return &Configuration{Defaults: defaults, Source: "file " + file, Known: true}, nil
	}
	found, answer, err := c.findConfiguration(ctx, namespace)
	switch {
	case err != nil:
		return nil, err
	case answer == Hidden:
		hidden := builtin("the built-in defaults, for you may not read the injector's configuration (--config names a copy)")
		hidden.Hidden = true
		return hidden, nil
	case len(found) == 0:
		return builtin("the built-in defaults, for no injector is installed"), nil
	case len(found) > 1:
		return nil, fmt.Errorf("there are several injectors: in %s; say which with --injector-namespace", places(found))
	}
	object := &found[0]
	defaults, err := config.Parse([]byte(object.Data[configurationKey]))
	if err != nil {
		return nil, fmt.Errorf("ConfigMap %s/%s: %w", object.Namespace, object.Name, err)
	}
	return &Configuration{
		Defaults: defaults, Source: "ConfigMap " + object.Namespace + "/" + object.Name, Known: true, Object: object,
	}, nil
}

func builtin(source string) *Configuration {
	return &Configuration{Defaults: intent.BuiltinDefaults(), Source: source}
}

// findConfiguration looks in the namespace, or by label in all and, where that is hidden,
// under the name that the chart gives by default.
func (c *Cluster) findConfiguration(ctx context.Context, namespace string) ([]corev1.ConfigMap, Answer, error) {
	var list corev1.ConfigMapList
	if namespace != "" { // a release may have another name, and its label with it
		answer, err := c.ReadAll(ctx, &list, namespace, PurposeConfiguration)
		return configurations(list.Items), answer, err
	}
	switch err := c.List(ctx, &list, client.MatchingLabels{labelName: Product}); {
	case err == nil:
		return configurations(list.Items), Found, nil
	case !apierrors.IsForbidden(err):
		return nil, 0, fmt.Errorf("%s: %w", PurposeConfiguration, err)
	}
	var object corev1.ConfigMap
	answer, err := c.Read(ctx, client.ObjectKey{Namespace: Product, Name: Product}, &object, PurposeConfiguration)
	if answer != Found || err != nil {
		return nil, answer, err
	}
	return configurations([]corev1.ConfigMap{object}), answer, nil
}

// configurations returns the ConfigMaps that hold one.
func configurations(all []corev1.ConfigMap) []corev1.ConfigMap {
	var found []corev1.ConfigMap
	for i := range all {
		var head struct {
			Kind string `json:"kind"`
		}
		if err := yaml.Unmarshal([]byte(all[i].Data[configurationKey]), &head); err == nil && head.Kind == config.Kind {
			found = append(found, all[i])
		}
	}
	return found
}

func places(found []corev1.ConfigMap) string {
	names := make([]string, len(found))
	for i := range found {
		names[i] = found[i].Namespace + "/" + found[i].Name
	}
	return strings.Join(names, " and ")
}
