package kube

import (
	"fmt"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Flags are kubectl's own, by which it finds the cluster and the user, and those that tell
// where the injector's configuration is.
type Flags struct {
	*genericclioptions.ConfigFlags

	// ConfigFile is a configuration file that is taken in place of the cluster's.
	ConfigFile string
	// InjectorNamespace is the namespace of the injector; empty: it is looked for.
	InjectorNamespace string
}

// The connection to a cluster asks as much as it likes: the API server is fair by itself.
const (
	queriesPerSecond = 50
	burst            = 300
)

// NewFlags returns flags with kubectl's defaults.
func NewFlags() *Flags {
	flags := genericclioptions.NewConfigFlags(true).WithDiscoveryBurst(burst).WithDiscoveryQPS(queriesPerSecond)
	return &Flags{ConfigFlags: flags}
}

// AddFlags adds the flags to a command's. Those of kubectl that are seldom needed work, and
// are not in the help.
func (f *Flags) AddFlags(flags *pflag.FlagSet) {
	f.ConfigFlags.AddFlags(flags)
	for _, name := range [...]string{
		"cache-dir", "certificate-authority", "client-certificate", "client-key", "disable-compression",
		"insecure-skip-tls-verify", "tls-server-name", "token", "as-uid", "as-user-extra",
	} {
		if flag := flags.Lookup(name); flag != nil {
			flag.Hidden = true
		}
	}
	flags.StringVar(&f.ConfigFile, "config", "",
		"configuration file of the injector; without it, that of the cluster's injector is read")
	flags.StringVar(&f.InjectorNamespace, "injector-namespace", "",
		"namespace of the injector; without it, the injector is looked for by its label")
}

// Connect returns the cluster that the flags mean. It asks the cluster nothing yet.
func (f *Flags) Connect() (*Cluster, error) {
	config, err := f.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = queriesPerSecond, burst
	config.WarningHandler = rest.NoWarnings{}
	scheme, err := Scheme()
	if err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	namespace, _, err := f.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, fmt.Errorf("namespace: %w", err)
	}
	return &Cluster{Client: c, Config: config, Namespace: namespace, Gaps: &Gaps{}, flags: f}, nil
}

// Scheme knows the kinds that commands read as Go types. Of all others they read
// unstructured objects.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range [...]func(*runtime.Scheme) error{clientgoscheme.AddToScheme, cmapi.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("kinds: %w", err)
		}
	}
	return scheme, nil
}
