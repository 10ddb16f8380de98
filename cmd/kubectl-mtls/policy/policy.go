// Package policy is the command `kubectl mtls policy`: the injector's configuration in,
// CertificateRequestPolicies for approver-policy out.
package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/cmd/kubectl-mtls/steps"
	"example.io/mtls-injector/policy"
)

// The output formats.
const (
	outputYAML = "yaml"
	outputJSON = "json"
)

// The flags that tell who asks, and what is allowed.
const (
	flagCSIDriver   = "csi-driver-service-account"
	flagCertManager = "cert-manager-service-account"
	flagAsPods      = "use-token-request"
	flagFromCluster = "from-cluster"
)

// Options of the command: first the flags, then what Complete makes of them.
type Options struct {
	*kube.Flags

	FromCluster     bool
	CSIDriver       string
	CertManager     string
	UseTokenRequest bool
	Output          string
	Quiet           bool

	genericiooptions.IOStreams

	policies policy.Options
}

const long = `Print CertificateRequestPolicies for approver-policy (https://cert-manager.io/docs/policy/approval/approver-policy/),
which cert-manager asks before it signs, and the RBAC by which cert-manager and its CSI driver may use them. They are
made from the injector's configuration, and are never wider than it: what approver-policy cannot say is an error that
tells what to write instead, and then nothing is printed.

With them, whoever asks, a certificate of the configured issuers has
  - the SPIFFE ID of a service account of the request's own namespace; with --use-token-request, of the one that asks,
  - DNS names of Services of that namespace, and what identity.allow grants to it,
  - common name, subject, lifetime, usages and key as the configuration allows, and is never an authority's.
The namespace is opted in and may use the issuer, and the CSI driver has asked, or cert-manager for a Certificate. Any
other request is denied, or waits for another policy to approve it.

They cannot know what only admission knows: which Services there are, and select a pod; or, without
--use-token-request, which of the namespace's service accounts the pod has. Who may write Certificates in a namespace
may have every name of that namespace. A request without a SPIFFE ID or without a duration is not approved. And
approver-policy approves what any policy approves: the other policies of the cluster count, too.

They decide nothing as long as cert-manager's own approver is on, which approves everything. To turn it off, set
disableAutoApproval in cert-manager's Helm chart, or --controllers=*,-certificaterequests-approver for its controller.

The configuration is that of --config, or with --from-cluster that of the cluster's injector, for which its ConfigMap has
to be read: whoever may not is told the rule that lacks, and nothing is printed. Without either the defaults hold.

Print and apply them again when the configuration has changed. A policy of before that is no longer made can be used by
nobody; the second example deletes it, too.`

const examples = `  # Print the policies for the configuration of the cluster's injector
  kubectl mtls policy --config injector.yaml

  # For the configuration that the cluster's injector has now
  kubectl mtls policy --from-cluster

  # Apply them, and delete those of an earlier configuration
  kubectl mtls policy --config injector.yaml | kubectl apply -f - --prune \
    -l app.kubernetes.io/managed-by=mtls-injector,app.kubernetes.io/component=signing-policy \
    --prune-allowlist=policy.cert-manager.io/v1alpha1/CertificateRequestPolicy

  # For a CSI driver that asks in the name of each pod's service account
  kubectl mtls policy --config injector.yaml --use-token-request

  # For a cert-manager that is installed elsewhere
  kubectl mtls policy --cert-manager-service-account pki/cert-manager \
    --csi-driver-service-account pki/cert-manager-csi-driver`

// NewCommand returns the command.
func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	o := &Options{
		Flags: kube.NewFlags(), CSIDriver: "cert-manager/cert-manager-csi-driver", CertManager: "cert-manager/cert-manager",
		Output: outputYAML, IOStreams: streams,
	}
	cmd := &cobra.Command{
		Use:     "policy",
		Short:   "Print the identity rules as policies for approver-policy",
		Long:    long,
		Example: examples,
		Args:    cobra.NoArgs,
		RunE:    steps.OnCluster(o),
	}
	flags := cmd.Flags()
	o.AddFlags(flags)
	flags.Lookup("config").Usage = "configuration file of the injector; without it and --from-cluster, its defaults hold"
	flags.BoolVar(&o.FromCluster, flagFromCluster, false, "take the configuration of the cluster's injector")
	flags.StringVar(&o.CSIDriver, flagCSIDriver, o.CSIDriver, "service account of cert-manager's CSI driver, as NAMESPACE/NAME")
	flags.StringVar(&o.CertManager, flagCertManager, o.CertManager, "service account of cert-manager's controller, as NAMESPACE/NAME")
	flags.BoolVar(&o.UseTokenRequest, flagAsPods, false,
		"the CSI driver asks in the name of the pod's service account (its Helm value app.driver.useTokenRequest)")
	flags.StringVarP(&o.Output, "output", "o", o.Output, "output format: yaml or json")
	flags.BoolVarP(&o.Quiet, "quiet", "q", false, "do not tell what the policies need to be of effect; errors stay")
	cmd.MarkFlagsMutuallyExclusive(flagCSIDriver, flagAsPods)
	cmd.MarkFlagsMutuallyExclusive("config", flagFromCluster)
	o.completeValues(cmd)
	return cmd
}

// completeValues tells the shell what flags take. Cobra's errors are for unknown flags.
func (o *Options) completeValues(cmd *cobra.Command) {
	kube.CompleteFlags(cmd, o.Flags, outputYAML, outputJSON)
	for _, name := range []string{flagCSIDriver, flagCertManager} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

// Complete takes the service accounts apart.
func (o *Options) Complete([]string) error {
	o.policies = policy.Options{
		CSIDriver: accountOf(o.CSIDriver), CertManager: accountOf(o.CertManager), UseTokenRequest: o.UseTokenRequest,
	}
	return nil
}

func accountOf(text string) types.NamespacedName {
	namespace, name, _ := strings.Cut(text, "/")
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// Validate checks the flags.
func (o *Options) Validate() error {
	errs := []error{
		checkAccount(flagCSIDriver, o.CSIDriver, o.policies.CSIDriver),
		checkAccount(flagCertManager, o.CertManager, o.policies.CertManager),
	}
	if !slices.Contains([]string{outputYAML, outputJSON}, o.Output) {
		errs = append(errs, fmt.Errorf("--output %q: must be yaml or json", o.Output))
	}
	return errors.Join(errs...)
}

func checkAccount(flag, text string, account types.NamespacedName) error {
	problems := append(validation.IsDNS1123Label(account.Namespace), validation.IsDNS1123Subdomain(account.Name)...)
	if len(problems) > 0 {
		return fmt.Errorf("--%s %q: must be NAMESPACE/NAME of a service account", flag, text)
	}
	return nil
}
