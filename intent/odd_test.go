package intent_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/intent"
)

// mounting returns a pod of which the container "app" and the init container "migrate"
// mount one file of the volume each.
func mounting(volume intent.Volume) *intent.Pod {
	pod := newPod("role", "server")
	if volume.CSI != nil || volume.Secret != nil || volume.ConfigMap != nil || volume.Projected != nil {
		pod.Spec.Volumes = []intent.Volume{{Name: "other"}, volume}
	}
	mount := intent.VolumeMount{Name: volume.Name, MountPath: "/certs/tls.crt", SubPath: "tls.crt"}
	whole := intent.VolumeMount{Name: volume.Name, MountPath: "/certs"}
	pod.Spec.Containers[0].VolumeMounts = []intent.VolumeMount{whole, mount}
	expanded := mount
	expanded.SubPath, expanded.SubPathExpr = "", "$(POD_NAME).crt"
	pod.Spec.InitContainers[0].VolumeMounts = []intent.VolumeMount{expanded}
	return pod
}

func TestOddMounts(t *testing.T) {
	named := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	secret := func(name string) intent.Volume {
		return intent.Volume{Name: "v", Secret: &corev1.SecretVolumeSource{SecretName: name}}
	}
	configMap := func(name string) intent.Volume {
		return intent.Volume{Name: "v", ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: named(name)}}
	}
	projected := func(sources ...corev1.VolumeProjection) intent.Volume {
		return intent.Volume{Name: "v", Projected: &corev1.ProjectedVolumeSource{Sources: sources}}
	}
	csi := func(driver string) intent.Volume {
		return intent.Volume{Name: "v", CSI: &corev1.CSIVolumeSource{Driver: driver}}
	}
	trust := func(name *string) intent.Volume {
		return projected(corev1.VolumeProjection{DownwardAPI: &corev1.DownwardAPIProjection{}},
			corev1.VolumeProjection{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{Name: name}})
	}
	bundle := intent.Bundle{Kind: intent.BundleClusterTrustBundle, Name: "roots"}
	for name, c := range map[string]struct {
		volume intent.Volume
		bundle *intent.Bundle
		odd    bool
	}{
		"the CSI driver's":                   {csi("csi.cert-manager.io"), nil, true},
		"another driver's":                   {csi("secrets-store.csi.k8s.io"), nil, false},
		"the companion's Secret":             {secret("web-mtls"), nil, true},
		"another Secret":                     {secret("web"), nil, false},
		"the CA bundle":                      {configMap("mtls-ca-bundle"), nil, true},
		"another ConfigMap":                  {configMap("settings"), nil, false},
		"a ConfigMap named as the bundle":    {configMap("roots"), &bundle, false},
		"projected companion":                {projected(corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: named("web-mtls")}}), nil, true},
		"projected Secret":                   {projected(corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: named("web")}}), nil, false},
		"projected CA bundle":                {projected(corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: named("mtls-ca-bundle")}}), nil, true},
		"projected ConfigMap":                {projected(corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: named("settings")}}), nil, false},
		"the ClusterTrustBundle":             {trust(new("roots")), &bundle, true},
		"another ClusterTrustBundle":         {trust(new("others")), &bundle, false},
		"the ClusterTrustBundles of one":     {trust(nil), &bundle, true},
		"injected, with the key pair":        {intent.Volume{Name: "mtls-certs"}, nil, true},
		"injected, with the CA bundle":       {intent.Volume{Name: "mtls-ca"}, nil, true},
		"nobody's":                           {intent.Volume{Name: "nothing"}, nil, false},
		"another with the name of ours":      {intent.Volume{Name: "mtls-ca", Secret: &corev1.SecretVolumeSource{SecretName: "x"}}, nil, false},
		"projected, without what we know":    {projected(corev1.VolumeProjection{}), nil, false},
		"the companion's Secret as a bundle": {configMap("web-mtls"), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			in := *mustIntent(t, resolveServer())
			if c.bundle != nil {
				in.CABundle = *c.bundle
			}
			var want []string
			for _, mounted := range []string{`container "migrate" mounts "$(POD_NAME).crt"`, `container "app" mounts "tls.crt"`} {
				if c.odd {
					want = append(want, mounted+` of volume "`+c.volume.Name+
						`" by subPath, which stays as it is when the files are renewed: mount the whole volume`)
				}
			}
			assert.Equal(t, want, intent.Odd(mounting(c.volume), &in))
		})
	}
}

func TestOddLifetimes(t *testing.T) {
	const short = `a certificate lasts 167h with mtls.example.io/reload: none, so a program that does not read its files again fails by then: set `
	rollout := func(kind, apiVersion string) intent.Workload {
		return intent.Workload{APIVersion: apiVersion, Kind: kind, Name: "web"}
	}
	for name, c := range map[string]struct {
		workload intent.Workload
		pairs    []string
		want     []string
	}{
		"short":               {rollout("Deployment", "apps/v1"), []string{"duration", "167h"}, []string{short + "mtls.example.io/reload: restart or a longer mtls.example.io/duration"}},
		"a week":              {rollout("Deployment", "apps/v1"), []string{"duration", "168h"}, nil},
		"by default":          {rollout("Deployment", "apps/v1"), nil, nil},
		"short and restarted": {rollout("StatefulSet", "apps/v1"), []string{"duration", "167h", "reload", "restart"}, nil},
		"cannot be restarted": {rollout("Rollout", "argoproj.io/v1alpha1"), []string{"duration", "167h"}, []string{short + "a longer mtls.example.io/duration"}},
		"ends by itself":      {rollout("CronJob", "batch/v1"), []string{"duration", "167h"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			pod := c.workload.PodOf(newPod(append(c.pairs, "role", "client")...))
			in := mustIntent(t, intent.Resolve(intent.BuiltinDefaults(), newNamespace(), pod, nil))
			assert.Equal(t, c.want, intent.Odd(pod, in))
		})
	}
}

// TestOddLifetimeOfTheConfiguration: nobody need have written the lifetime.
func TestOddLifetimeOfTheConfiguration(t *testing.T) {
	d := intent.BuiltinDefaults()
	d.Client = intent.Lifetime{Duration: 24 * time.Hour, RenewBefore: 8 * time.Hour}
	pod := newPod("role", "client")
	warnings := intent.Odd(pod, mustIntent(t, intent.Resolve(d, newNamespace(), pod, nil)))
	assert.Len(t, warnings, 1)
	assert.Contains(t, warnings[0], "a certificate lasts 24h with")
}
