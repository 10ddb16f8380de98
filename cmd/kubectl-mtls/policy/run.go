package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"example.io/mtls-injector/config"
	"example.io/mtls-injector/intent"
	"example.io/mtls-injector/policy"
)

// errNothingPrinted follows the problems on the standard error.
var errNothingPrinted = errors.New("the configuration cannot be said in policies, so nothing was printed")

const needed = `warning: these policies decide nothing unless cert-manager's own approver is off: disableAutoApproval in its Helm chart,
  or --controllers=*,-certificaterequests-approver for its controller
`

// Run renders and prints. Its output is all or nothing.
func (o *Options) Run(ctx context.Context) error {
	defaults, source, err := o.configuration(ctx)
	if err != nil {
		return err
	}
	objects, errs := policy.Objects(defaults, o.policies)
	if len(errs) > 0 {
		for _, err := range errs {
			o.tell("error: %s%v\n", source, err)
		}
		return errNothingPrinted
	}
	var out bytes.Buffer
	write := writeYAML
	if o.Output == outputJSON {
		write = writeJSON
	}
	if err := write(&out, objects); err != nil {
		return err
	}
	if !o.Quiet {
		o.tell(needed)
	}
	_, err = o.Out.Write(out.Bytes())
	return err
}

// configuration returns what the policies are made of, and what names it before what is wrong
// with it. For a cluster whose injector's configuration is not known nothing is guessed.
func (o *Options) configuration(ctx context.Context) (*intent.Defaults, string, error) {
	if !o.FromCluster {
		defaults, err := config.Load(o.ConfigFile)
		if o.ConfigFile == "" {
			return defaults, "", err
		}
		return defaults, "configuration " + o.ConfigFile + ": ", err
	}
	cluster, err := o.Connect()
	if err != nil {
		return nil, "", err
	}
	found, err := cluster.Configuration(ctx)
	if err != nil {
		return nil, "", err
	}
	if !found.Known {
		if err := cluster.Gaps.Print(o.ErrOut); err != nil {
			return nil, "", err
		}
		return nil, "", errors.New("the configuration of the cluster's injector is not known, so nothing was printed")
	}
	return found.Defaults, "configuration in " + found.Source + ": ", nil
}

// tell writes to the standard error; where that fails, nobody can be told.
func (o *Options) tell(format string, arguments ...any) {
	_, _ = fmt.Fprintf(o.ErrOut, format, arguments...)
}

// writeYAML writes a document for each object. Long lines stay whole.
func writeYAML(out *bytes.Buffer, objects []*unstructured.Unstructured) error {
	encoder := yaml.NewEncoder(out)
	encoder.SetIndent(2)
	encoder.CompactSeqIndent()
	for _, object := range objects {
		if err := encoder.Encode(object.Object); err != nil {
			return err
		}
	}
	return encoder.Close()
}

// writeJSON writes a value for each object, one after the other, as kubectl reads them.
func writeJSON(out *bytes.Buffer, objects []*unstructured.Unstructured) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "    ")
	encoder.SetEscapeHTML(false) // rules have && in them
	for _, object := range objects {
		if err := encoder.Encode(object.Object); err != nil {
			return err
		}
	}
	return nil
}
