package check

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
)

// site is what the checks look at. What several need is asked for once.
type site struct {
	*kube.Cluster

	server server
	// version is the plugin's.
	version string
	now     time.Time

	config *kube.Configuration
	// configErr says why the configuration cannot be had.
	configErr error
	// namespaces are those that are opted in; if the user may not list them, the one of -n.
	namespaces      []corev1.Namespace
	namespacesKnown bool
	// answered is whether the dry-run pod came through; nil before it was tried.
	answered *bool
}

// server is what the API server says of itself.
type server interface {
	// Version is such as v1.36.3-gke.100.
	Version() (string, error)
	// Groups are the API groups.
	Groups() ([]string, error)
}

// known turns an answer that is missing into an outcome; nil if the answer is there.
func (s *site) known(answer kube.Answer, err error, what string) []Outcome {
	switch {
	case err != nil:
		return failure("cannot be checked: "+err.Error(), "")
	case answer == kube.Hidden:
		message := "you may not see " + what
		if gaps := s.Gaps.List(); len(gaps) > 0 {
			i := slices.IndexFunc(gaps, func(g kube.Gap) bool { return g.For == what })
			if i >= 0 {
				message += ": you may not " + gaps[i].Rule()
			}
		}
		return notKnown(message)
	}
	return nil
}

// has reports whether the API server serves a kind.
func (s *site) has(group, kind string) bool {
	_, err := s.RESTMapper().RESTMapping(schema.GroupKind{Group: group, Kind: kind})
	return err == nil
}

// object returns an unstructured object of a kind, in the version that the API server prefers.
func (s *site) object(group, kind string) (*unstructured.Unstructured, bool) {
	mapping, err := s.RESTMapper().RESTMapping(schema.GroupKind{Group: group, Kind: kind})
	if err != nil {
		return nil, false
	}
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(mapping.GroupVersionKind)
	return object, true
}

// workload is a program of another project, as its chart installs it.
type workload struct {
	labels labels.Set
	// name is for people.
	name string
}

// deployments returns the Deployments with the labels, in all namespaces.
func (s *site) deployments(ctx context.Context, w workload) ([]appsv1.Deployment, []Outcome) {
	var list appsv1.DeploymentList
	what := "the Deployment of " + w.name
	answer, err := s.ReadAll(ctx, &list, "", what, client.MatchingLabels(w.labels))
	return list.Items, s.known(answer, err, what)
}

// runs says whether the Deployments have pods that are available.
func (s *site) runs(ctx context.Context, w workload) []Outcome {
	found, hidden := s.deployments(ctx, w)
	if hidden != nil {
		return hidden
	}
	if len(found) == 0 {
		return warning(w.name+": there is no Deployment with the labels of its chart ("+w.labels.String()+")",
			"if it is installed in another way, see that it runs; else install it")
	}
	for i := range found {
		d := &found[i]
		if d.Status.AvailableReplicas == 0 {
			return failure(fmt.Sprintf("%s: none of its pods is available (Deployment %s/%s)", w.name, d.Namespace, d.Name),
				fmt.Sprintf("kubectl -n %s describe deployment %s\nkubectl -n %[1]s get events", d.Namespace, d.Name))
		}
	}
	return ok(fmt.Sprintf("%s: %s", w.name, versionOf(&found[0])))
}

// versionOf says which version a Deployment is, and how many of its pods are available.
func versionOf(d *appsv1.Deployment) string {
	version := d.Labels["app.kubernetes.io/version"]
	if version == "" {
		version = "version not told"
	}
	return fmt.Sprintf("%s, %d of %d pods available", version, d.Status.AvailableReplicas, d.Status.Replicas)
}

// platform is a kind of managed cluster that wants something of its own.
type platform string

const (
	gke       platform = "GKE"
	eks       platform = "EKS"
	aks       platform = "AKS"
	openShift platform = "OpenShift"
)

// platform tells the kind of cluster from the API server's version, groups and address.
func (s *site) platform() platform {
	version, _ := s.server.Version() // without it there is no telling
	groups, _ := s.server.Groups()
	host := ""
	if s.Config != nil {
		if u, err := url.Parse(s.Config.Host); err == nil {
			host = u.Hostname()
		}
	}
	switch {
	case slices.Contains(groups, "security.openshift.io"):
		return openShift
	case strings.Contains(version, "-gke."):
		return gke
	case strings.Contains(version, "-eks-"):
		return eks
	case strings.HasSuffix(host, ".azmk8s.io"):
		return aks
	}
	return ""
}

// learn reads the configuration and the namespaces.
func (s *site) learn(ctx context.Context) {
	s.config, s.configErr = s.Configuration(ctx)
	if s.config == nil {
		return
	}
	var list corev1.NamespaceList
	answer, err := s.ReadAll(ctx, &list, "", "the namespaces that are opted in")
	if err == nil && answer == kube.Found {
		s.namespacesKnown = true
		for i := range list.Items {
			if s.config.Defaults.Namespaces.Matches(labels.Set(list.Items[i].Labels)) {
				s.namespaces = append(s.namespaces, list.Items[i])
			}
		}
		return
	}
	var own corev1.Namespace
	answer, err = s.Read(ctx, client.ObjectKey{Name: s.Namespace}, &own, "whether your namespace is opted in")
	if err == nil && answer == kube.Found && s.config.Defaults.Namespaces.Matches(labels.Set(own.Labels)) {
		s.namespaces = []corev1.Namespace{own}
	}
}

// some names the first ones.
func some(names []string) string {
	const most = 5
	slices.Sort(names)
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
