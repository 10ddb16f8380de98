package e2e

// One thing that the attacker tries at admission, and what comes of it.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/csidriver"
	"example.io/mtls-injector/intent"
)

// attempt is a pod that the attacker makes. In all texts {ns} and {other} stand for the
// namespaces. Without more it is the attacker's usual pod: a server behind his own Service.
type attempt struct {
	// key and value are an annotation, and further ones; keys are without the prefix.
	key, value string
	and        map[string]string
	// attribute and its value stand in a hand-written volume, and further ones; without the
	// driver's prefix, too.
	attribute string
	volume    map[string]string
	change    func(*corev1.Pod)

	// why is the text of the refusal; empty where the pod is admitted. It is about the
	// annotation or attribute and its value, unless field and shown say otherwise.
	why, field, shown string
	// byServer is the error where the API server itself refuses the pod.
	byServer string
	// services are those whose names an admitted pod's certificate has; nil for the usual
	// pod's.
	services []string
	// dryRun leaves no pod behind, for the controller has tests of its own.
	dryRun bool
}

// pod makes the attempt's pod.
func (s *attackScene) pod(a attempt) *corev1.Pod {
	annotations := map[string]string{"role": "server"}
	for key, value := range a.and {
		annotations[key] = s.fill(value)
	}
	attributes := maps.Clone(a.volume)
	switch {
	case a.key != "":
		annotations[a.key] = s.fill(a.value)
	case a.attribute != "" && attributes == nil:
		attributes = map[string]string{a.attribute: a.value}
	case a.attribute != "":
		attributes[a.attribute] = a.value
	}
	pod := podWith(s.namespace, annotations)
	pod.Name, pod.Labels = "mallory", map[string]string{"app": "mallory"}
	if attributes != nil {
		pod.Spec.Volumes = append(pod.Spec.Volumes, handWritten("own", attributes))
	}
	if a.change != nil {
		a.change(pod)
	}
	pod.Name, pod.GenerateName = s.fill(pod.Name), s.fill(pod.GenerateName)
	for _, volume := range pod.Spec.Volumes {
		if volume.CSI == nil {
			continue
		}
		for key, value := range volume.CSI.VolumeAttributes {
			volume.CSI.VolumeAttributes[key] = s.fill(value)
		}
	}
	return pod
}

// handWritten is a volume of the CSI driver, with the issuer and the kind of key that
// everybody may have, and the SPIFFE ID of the default service account.
func handWritten(name string, attributes map[string]string) corev1.Volume {
	all := map[string]string{
		csidriver.Prefix + "issuer-name": "companions", csidriver.Prefix + "key-algorithm": "ECDSA",
		csidriver.Prefix + "uri-sans": "spiffe://cluster.local/ns/{ns}/sa/default",
	}
	for key, value := range attributes {
		all[csidriver.Prefix+key] = value
	}
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{
		Driver: csidriver.Name, ReadOnly: new(true), VolumeAttributes: all,
	}}}
}

// try makes the pod as the attacker, and checks what he is told or what he holds then.
func (s *attackScene) try(t *testing.T, a attempt) {
	t.Helper()
	pod := s.pod(a)
	var options []client.CreateOption
	if a.dryRun {
		options = append(options, client.DryRunAll)
	}
	err := s.attacker.Create(t.Context(), pod, options...)
	switch {
	case a.byServer != "":
		assert.EqualError(t, err, s.fill(a.byServer))
		return
	case a.why != "":
		shown := cmp.Or(a.shown, a.value)
		assertRefused(t, err, a.where(), fmt.Sprintf("Invalid value: %q: %s", s.fill(shown), s.fill(a.why)))
		return
	}
	require.NoError(t, err)
	if !a.dryRun {
		t.Cleanup(func() { s.delete(pod) })
	}
	names := s.usual(pod)
	if a.services != nil {
		names = nil
	}
	for _, service := range a.services {
		names = append(names, s.formsOf(service)...)
	}
	s.holds(t, pod, names)
}

// where is the path of what is refused.
func (a *attempt) where() string {
	switch {
	case a.field != "":
		return a.field
	case a.attribute != "":
		return "spec.volumes[0].csi.volumeAttributes[" + csidriver.Prefix + a.attribute + "]"
	default:
		return "metadata.annotations[" + intent.Prefix + a.key + "]"
	}
}

// tryAll tries each as a test of its own.
func tryAll(attempts map[string]attempt) func(*testing.T, *attackScene) {
	return func(t *testing.T, s *attackScene) {
		t.Helper()
		for name, a := range attempts {
			t.Run(name, func(t *testing.T) { s.on(t).try(t, a) })
		}
	}
}

// delete deletes a pod of the attacker's, who may do so, and waits until it is gone.
func (s *attackScene) delete(pod *corev1.Pod) {
	s.Helper()
	ctx := context.Background() // it is for cleaning up
	require.NoError(s, client.IgnoreNotFound(s.attacker.Delete(ctx, pod, client.GracePeriodSeconds(0))))
	require.NoError(s, s.WaitFor(ctx, "pod "+pod.Name+" to go", func(ctx context.Context) error {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(pod), &corev1.Pod{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, errors.New("it is there"))
	}))
}
