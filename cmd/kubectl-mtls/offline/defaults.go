package offline

import (
	"fmt"

	"example.io/mtls-injector/config"
	"example.io/mtls-injector/intent"
)

// LoadDefaults reads the configuration of --config, or the built-in one if that is empty, for
// an injector of a version and the Kubernetes of --kubernetes-version, or the newest.
func LoadDefaults(file, version, kubernetes string) (*intent.Defaults, error) {
	defaults, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	defaults.Version = version
	if kubernetes == "" {
		return defaults, nil
	}
	if defaults.Kubernetes, err = intent.ParseKubernetesVersion(kubernetes); err != nil {
		return nil, fmt.Errorf("--kubernetes-version: %w", err)
	}
	return defaults, nil
}
