package config

// Between the file's form and intent.Defaults.

import (
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"example.io/mtls-injector/intent"
)

// unset returns a copy without the values whose default depends on what the file says.
func unset(builtin *InjectorConfiguration) *InjectorConfiguration {
	c := *builtin
	c.PrivateKey.Size = nil
	c.NamespaceSelector = nil
	c.Lifetimes.Server, c.Lifetimes.Client, c.Lifetimes.Both = Lifetime{}, Lifetime{}, Lifetime{}
	return &c
}

// complete gives these values.
func complete(c, builtin *InjectorConfiguration) {
	if c.PrivateKey.Size == nil {
		size := intent.DefaultKeySize(c.PrivateKey.Algorithm)
		c.PrivateKey.Size = &size
	}
	for i := range c.PrivateKey.Allowed {
		completeKeyRule(&c.PrivateKey.Allowed[i], builtin.PrivateKey.Allowed)
	}
	if c.NamespaceSelector == nil {
		c.NamespaceSelector = builtin.NamespaceSelector
	}
	completeLifetime(&c.Lifetimes.Server, builtin.Lifetimes.Server)
	completeLifetime(&c.Lifetimes.Client, builtin.Lifetimes.Client)
	completeLifetime(&c.Lifetimes.Both, builtin.Lifetimes.Both)
	for i := range c.AllowedIssuers {
		if c.AllowedIssuers[i].Group == "" {
			c.AllowedIssuers[i].Group = intent.DefaultIssuerGroup
		}
	}
}

func completeLifetime(l *Lifetime, builtin Lifetime) {
	switch {
	case l.Duration == nil && l.RenewBefore == nil:
		*l = builtin
	case l.Duration == nil:
		l.Duration = builtin.Duration
	case l.RenewBefore == nil:
		third := Duration((time.Duration(*l.Duration) / 3).Truncate(time.Second))
		l.RenewBefore = &third
	}
}

// toDefaults converts a validated configuration.
func (c *InjectorConfiguration) toDefaults() (*intent.Defaults, error) {
	d := intent.BuiltinDefaults() // for Version
	d.TrustDomain, d.ClusterDomain = c.TrustDomain, c.ClusterDomain
	namespaces, err := metav1.LabelSelectorAsSelector(c.NamespaceSelector)
	if err != nil {
		return nil, fmt.Errorf("namespaceSelector: %w", err)
	}
	d.Namespaces = namespaces
	d.Issuer = intent.Issuer(c.Issuer)
	d.CABundle = intent.Bundle(c.CABundle)
	d.Delivery = c.Delivery
	d.Key = intent.PrivateKey{Algorithm: c.PrivateKey.Algorithm, Size: *c.PrivateKey.Size}
	d.AllowedKeys = keyRules(c.PrivateKey.Allowed)
	d.Server, d.Client, d.Both = c.Lifetimes.Server.toIntent(), c.Lifetimes.Client.toIntent(), c.Lifetimes.Both.toIntent()
	d.MinDuration, d.MaxDuration = time.Duration(c.Lifetimes.Min), time.Duration(c.Lifetimes.Max)
	d.ExcludeContainers = c.Containers.Exclude
	d.Env = slices.DeleteFunc(slices.Clone(c.Env), func(p intent.EnvProfile) bool { return p == intent.EnvNone })
	d.PreStop = intent.PreStop(c.PreStop)
	d.Probes, d.Reload, d.Companion = c.Probes, c.Reload, c.Companion
	d.Restart = intent.RestartPolicy{MaxConcurrentWorkloads: c.Restart.MaxConcurrentWorkloads, Jitter: time.Duration(c.Restart.Jitter)}
	d.Agent = c.Agent.toIntent()
	for i := range c.AllowedIssuers {
		rule := &c.AllowedIssuers[i]
		selector, err := metav1.LabelSelectorAsSelector(rule.NamespaceSelector)
		if err != nil {
			return nil, fmt.Errorf("allowedIssuers[%d].namespaceSelector: %w", i, err)
		}
		d.AllowedIssuers = append(d.AllowedIssuers,
			intent.IssuerRule{Namespaces: selector, Name: rule.Name, Kind: rule.Kind, Group: rule.Group})
	}
	d.Guard, d.Workloads = c.Admission.Guard, c.Admission.Workloads
	d.WorkloadNames = c.Identity.WorkloadNames
	if d.AllowedNames, err = nameRules(c.Identity.Allow); err != nil {
		return nil, err
	}
	return d, nil
}

func (l Lifetime) toIntent() intent.Lifetime {
	return intent.Lifetime{Duration: time.Duration(*l.Duration), RenewBefore: time.Duration(*l.RenewBefore)}
}

func (a *Agent) toIntent() intent.AgentDefaults {
	return intent.AgentDefaults{
		Image: a.Image, ImagePullPolicy: a.ImagePullPolicy, MetricsPort: a.MetricsPort, StartTimeout: time.Duration(a.StartTimeout),
		Requests: intent.Quantities(a.Resources.Requests), Limits: intent.Quantities(a.Resources.Limits),
	}
}

func fromAgent(d *intent.AgentDefaults) Agent {
	return Agent{
		Image: d.Image, ImagePullPolicy: d.ImagePullPolicy, MetricsPort: d.MetricsPort, StartTimeout: Duration(d.StartTimeout),
		Resources: AgentResources{Requests: Quantities(d.Requests), Limits: Quantities(d.Limits)},
	}
}

func fromLifetime(l intent.Lifetime) Lifetime {
	duration, renewBefore := Duration(l.Duration), Duration(l.RenewBefore)
	return Lifetime{Duration: &duration, RenewBefore: &renewBefore}
}

// fromDefaults is the way back; lists are empty rather than nil.
func fromDefaults(d *intent.Defaults) (*InjectorConfiguration, error) {
	namespaces, err := fromSelector(d.Namespaces)
	if err != nil {
		return nil, fmt.Errorf("namespaceSelector: %w", err)
	}
	c := &InjectorConfiguration{
		APIVersion:    APIVersion,
		Kind:          Kind,
		TrustDomain:   d.TrustDomain,
		ClusterDomain: d.ClusterDomain,

		NamespaceSelector: namespaces,

		Issuer:         Issuer(d.Issuer),
		AllowedIssuers: make([]IssuerRule, len(d.AllowedIssuers)),
		CABundle:       Bundle(d.CABundle),
		Delivery:       d.Delivery,
		PrivateKey:     PrivateKey{Algorithm: d.Key.Algorithm, Size: &d.Key.Size, Allowed: fromKeyRules(d.AllowedKeys)},
		Lifetimes: Lifetimes{
			Server: fromLifetime(d.Server), Client: fromLifetime(d.Client), Both: fromLifetime(d.Both),
			Min: Duration(d.MinDuration), Max: Duration(d.MaxDuration),
		},
		Containers: Containers{Exclude: nonNil(d.ExcludeContainers)},
		Env:        d.Env,
		PreStop:    PreStop(d.PreStop),
		Probes:     d.Probes,
		Reload:     d.Reload,
		Restart:    Restart{MaxConcurrentWorkloads: d.Restart.MaxConcurrentWorkloads, Jitter: Duration(d.Restart.Jitter)},
		Companion:  d.Companion,
		Agent:      fromAgent(&d.Agent),
		Admission:  Admission{Guard: d.Guard, Workloads: d.Workloads},
		Identity:   Identity{WorkloadNames: d.WorkloadNames},
	}
	if len(c.Env) == 0 {
		c.Env = []intent.EnvProfile{intent.EnvNone}
	}
	for i := range d.AllowedIssuers {
		rule := &d.AllowedIssuers[i]
		selector, err := fromSelector(rule.Namespaces)
		if err != nil {
			return nil, fmt.Errorf("allowedIssuers[%d].namespaceSelector: %w", i, err)
		}
		c.AllowedIssuers[i] = IssuerRule{NamespaceSelector: selector, Name: rule.Name, Kind: rule.Kind, Group: rule.Group}
	}
	if c.Identity.Allow, err = fromNameRules(d.AllowedNames); err != nil {
		return nil, err
	}
	return c, nil
}

func nonNil(list []string) []string { return append(make([]string, 0, len(list)), list...) }

// fromSelector undoes metav1.LabelSelectorAsSelector.
func fromSelector(selector labels.Selector) (*metav1.LabelSelector, error) {
	requirements, selectable := selector.Requirements()
	if !selectable {
		return nil, fmt.Errorf("a selector that selects nothing has no written form")
	}
	operators := map[selection.Operator]metav1.LabelSelectorOperator{
		selection.In:           metav1.LabelSelectorOpIn,
		selection.NotIn:        metav1.LabelSelectorOpNotIn,
		selection.Exists:       metav1.LabelSelectorOpExists,
		selection.DoesNotExist: metav1.LabelSelectorOpDoesNotExist,
	}
	out := &metav1.LabelSelector{}
	for i := range requirements {
		r := &requirements[i]
		values := slices.Sorted(maps.Keys(r.Values()))
		if r.Operator() == selection.Equals {
			metav1.AddLabelToSelector(out, r.Key(), values[0])
			continue
		}
		operator, ok := operators[r.Operator()]
		if !ok {
			return nil, fmt.Errorf("operator %q has no written form", r.Operator())
		}
		out.MatchExpressions = append(out.MatchExpressions,
			metav1.LabelSelectorRequirement{Key: r.Key(), Operator: operator, Values: values})
	}
	return out, nil
}
