package check

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/intent"
)

const (
	installDriver = "install it: https://cert-manager.io/docs/usage/csi-driver/installation/"
	whatDriver    = "the CSIDriver " + intent.CSIDriver
	profileLabel  = "security.openshift.io/csi-ephemeral-volume-profile"
)

// driver reads the CSIDriver; the outcome says why it is not there.
func (s *site) driver(ctx context.Context) (*storagev1.CSIDriver, []Outcome) {
	var driver storagev1.CSIDriver
	answer, err := s.Read(ctx, client.ObjectKey{Name: intent.CSIDriver}, &driver, whatDriver)
	if hidden := s.known(answer, err, whatDriver); hidden != nil {
		return nil, hidden
	}
	if answer == kube.Absent {
		return nil, failure("there is no CSIDriver "+intent.CSIDriver, installDriver)
	}
	return &driver, nil
}

func (s *site) csiDriver(ctx context.Context) []Outcome {
	driver, missing := s.driver(ctx)
	if missing != nil {
		return missing
	}
	if !slices.Contains(driver.Spec.VolumeLifecycleModes, storagev1.VolumeLifecycleEphemeral) {
		return failure("its CSIDriver does not say that it has ephemeral volumes", "install the driver's own chart anew: volumeLifecycleModes must have Ephemeral")
	}
	if driver.Spec.PodInfoOnMount == nil || !*driver.Spec.PodInfoOnMount {
		return failure("its CSIDriver does not ask for the pod's name and namespace, without which it makes no certificate",
			"install the driver's own chart anew: podInfoOnMount must be true")
	}
	return ok("CSIDriver " + intent.CSIDriver)
}

func (s *site) csiDriverNodes(ctx context.Context) []Outcome {
	const what = "the nodes, and the CSI drivers on each"
	var nodes corev1.NodeList
	answer, err := s.ReadAll(ctx, &nodes, "", what)
	if hidden := s.known(answer, err, what); hidden != nil {
		return hidden
	}
	var registered storagev1.CSINodeList
	answer, err = s.ReadAll(ctx, &registered, "", what)
	if hidden := s.known(answer, err, what); hidden != nil {
		return hidden
	}
	has := map[string]bool{}
	for i := range registered.Items {
		has[registered.Items[i].Name] = slices.ContainsFunc(registered.Items[i].Spec.Drivers,
			func(d storagev1.CSINodeDriver) bool { return d.Name == intent.CSIDriver })
	}
	var missing []string
	wanted := 0
	for i := range nodes.Items {
		if !isForPods(&nodes.Items[i]) {
			continue
		}
		if wanted++; !has[nodes.Items[i].Name] {
			missing = append(missing, nodes.Items[i].Name)
		}
	}
	if len(missing) > 0 {
		return failure(fmt.Sprintf("it is not registered on %d of %d nodes: %s", len(missing), wanted, some(missing)),
			"see that the driver's DaemonSet has a pod there that runs (tolerations, node selector):\n"+
				"kubectl get pods -A -o wide -l app.kubernetes.io/name=cert-manager-csi-driver")
	}
	return ok(fmt.Sprintf("on all %d nodes", wanted))
}

func (s *site) openShift(ctx context.Context) []Outcome {
	if s.platform() != openShift {
		return ok("it is not OpenShift")
	}
	driver, missing := s.driver(ctx)
	if missing != nil {
		return missing
	}
	if driver.Labels[profileLabel] == "" {
		return failure("CSIDriver "+intent.CSIDriver+" lacks the label "+profileLabel+", so its volumes are refused",
			"kubectl label csidriver "+intent.CSIDriver+" "+profileLabel+"=restricted")
	}
	return ok(profileLabel + "=" + driver.Labels[profileLabel])
}
