package main

import (
	"crypto/sha256"
	"fmt"

	"sigs.k8s.io/yaml"
)

// krewFile is the manifest with which krew installs the plugin as `kubectl mtls`.
const krewFile = "mtls.yaml"

// The form of krew.googlecontainertools.github.com/v1alpha2 Plugin, as far as it is used
// here: krew's own types come with a Kubernetes of years ago.
type (
	krewPlugin struct {
		APIVersion string     `json:"apiVersion"`
		Kind       string     `json:"kind"`
		Metadata   krewObject `json:"metadata"`
		Spec       krewSpec   `json:"spec"`
	}
	krewObject struct {
		Name string `json:"name"`
	}
	krewSpec struct {
		Version          string         `json:"version"`
		Homepage         string         `json:"homepage"`
		ShortDescription string         `json:"shortDescription"`
		Description      string         `json:"description"`
		Caveats          string         `json:"caveats"`
		Platforms        []krewPlatform `json:"platforms"`
	}
	krewPlatform struct {
		Selector krewSelector `json:"selector"`
		URI      string       `json:"uri"`
		Sha256   string       `json:"sha256"`
		Bin      string       `json:"bin"`
	}
	krewSelector struct {
		MatchLabels map[string]string `json:"matchLabels"`
	}
)

const (
	krewShort       = "Explain and check mutual TLS of pods"
	krewDescription = `The plugin of mtls-injector, which gives annotated pods mutual TLS without a service mesh.
It runs the code of the admission webhook, so it tells what the webhook does: what a pod
gets and why, which workloads have certificates and which run out, whether the cluster is
set up, and what is wrong with a handshake. It also injects manifests offline.
`
	krewCaveats = `kubectl mtls check --pre says what a cluster still needs.
`
)

// krew writes the manifest. The checksums are of the plugin's archives, as they are packed.
func (r *release) krew(archives map[program][]byte) error {
	plugin := krewPlugin{
		APIVersion: "krew.googlecontainertools.github.com/v1alpha2", Kind: "Plugin", Metadata: krewObject{Name: "mtls"},
		Spec: krewSpec{
			Version: r.version, Homepage: r.source,
			ShortDescription: krewShort, Description: krewDescription, Caveats: krewCaveats,
		},
	}
	for _, p := range plugins() {
		plugin.Spec.Platforms = append(plugin.Spec.Platforms, krewPlatform{
			Selector: krewSelector{MatchLabels: map[string]string{"os": p.os, "arch": p.arch}},
			URI:      fmt.Sprintf("%s/releases/download/%s/%s", r.source, r.version, p.archive(r.version)),
			Sha256:   fmt.Sprintf("%x", sha256.Sum256(archives[p])),
			Bin:      p.file(),
		})
	}
	text, err := yaml.Marshal(plugin)
	if err != nil {
		return err
	}
	return r.saveBytes(krewFile, modeFile, text)
}
