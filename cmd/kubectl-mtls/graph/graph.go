// Package graph is the command `kubectl mtls graph`: which workloads can talk to which, by
// the CAs that sign for them and the bundles that they trust.
//
// model.go is what comes out; trust.go knows who signs and who is trusted; text.go, diagram.go
// and svg.go draw it.
package graph

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/cmd/kubectl-mtls/steps"
	"example.io/mtls-injector/cmd/kubectl-mtls/survey"
)

// The output formats besides those of other commands.
const (
	outputMermaid = "mermaid"
	outputDOT     = "dot"
	outputSVG     = "svg"
)

// Options of the command: first the flags, then what Complete makes of them.
type Options struct {
	*kube.Flags

	AllNamespaces bool
	Output        string

	genericiooptions.IOStreams

	cluster *kube.Cluster
	now     func() time.Time
}

const long = `Show which workloads can talk to which with mutual TLS, by trust domain: those whose certificates are of one issuer, and
that trust one CA bundle. Within a domain every client can talk to every server; between two, if each side's bundle has
the other's CA.

What cannot talk is told, with the reason: a different CA, a certificate that has expired or is not for that usage, pods
that are not injected. Traffic is not looked at: the graph says who could, not who does, and NetworkPolicies are no part
of it.

The CA of an issuer is taken from what it has signed (CertificateRequests), and the bundle from its ConfigMap. No Secret
is read. What you may not read is told on the standard error, with the rule that would show it.`

const examples = `  # In the current namespace, as text
  kubectl mtls graph

  # In all namespaces, as a picture of its own
  kubectl mtls graph -A -o svg > mtls.svg

  # For a page in Markdown, or for Graphviz
  kubectl mtls graph -n shop -o mermaid
  kubectl mtls graph -n shop -o dot | dot -Tpng > mtls.png

  # What cannot talk, for a script
  kubectl mtls graph -A -o json | jq '.links[] | select(.verdict == "no")'`

// NewCommand returns the command.
func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	o := &Options{Flags: kube.NewFlags(), IOStreams: streams, now: time.Now}
	cmd := &cobra.Command{
		Use:     "graph",
		Short:   "Show who can talk to whom, and why others cannot",
		Long:    long,
		Example: examples,
		Args:    cobra.NoArgs,
		RunE:    steps.OnCluster(o),
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.AllNamespaces, "all-namespaces", "A", false, "show the workloads of all namespaces")
	flags.StringVarP(&o.Output, "output", "o", "", "output format: mermaid, dot, svg, json or yaml; without it, text")
	o.AddFlags(flags)
	kube.CompleteFlags(cmd, o.Flags, formats()...)
	return cmd
}

func formats() []string {
	return []string{outputMermaid, outputDOT, outputSVG, kube.OutputJSON, kube.OutputYAML}
}

// Complete connects.
func (o *Options) Complete([]string) (err error) {
	o.cluster, err = o.Connect()
	return err
}

// Validate checks the flags.
func (o *Options) Validate() error { return kube.CheckOutput(o.Output, formats()...) }

// Run draws the graph.
func (o *Options) Run(ctx context.Context) error {
	namespace := o.cluster.Namespace
	if o.AllNamespaces {
		namespace = ""
	}
	s, err := survey.Take(ctx, o.cluster, namespace)
	if err != nil {
		return errors.Join(err, o.cluster.Gaps.Print(o.ErrOut))
	}
	g, err := build(ctx, o.cluster, s, namespace, o.now())
	if err != nil {
		return err
	}
	var out bytes.Buffer
	switch o.Output {
	case kube.OutputJSON, kube.OutputYAML:
		return kube.Print(o.Out, o.Output, g)
	case outputMermaid:
		g.mermaid(&out)
	case outputDOT:
		g.dot(&out)
	case outputSVG:
		g.svg(&out)
	default:
		g.text(&out)
	}
	if _, err := o.Out.Write(out.Bytes()); err != nil {
		return err
	}
	return o.cluster.Gaps.Print(o.ErrOut)
}
