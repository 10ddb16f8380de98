package kube

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// completionTimeout is how long a shell waits for names.
const completionTimeout = 3 * time.Second

// CompleteFlags tells the shell what the flags take: namespaces, contexts, formats of
// --output. Cobra's errors are for unknown flags.
func CompleteFlags(cmd *cobra.Command, f *Flags, formats ...string) {
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	namespaces := func(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		return f.Names(cmd.Context(), schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}, "", prefix), cobra.ShellCompDirectiveNoFileComp
	}
	_ = cmd.RegisterFlagCompletionFunc("namespace", namespaces)
	_ = cmd.RegisterFlagCompletionFunc("injector-namespace", namespaces)
	raw := func(names func(*clientcmdapi.Config) []string) cobra.CompletionFunc {
		return func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
			config, err := f.ToRawKubeConfigLoader().RawConfig()
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return startingWith(names(&config), prefix), cobra.ShellCompDirectiveNoFileComp
		}
	}
	_ = cmd.RegisterFlagCompletionFunc("context", raw(func(c *clientcmdapi.Config) []string { return keys(c.Contexts) }))
	_ = cmd.RegisterFlagCompletionFunc("cluster", raw(func(c *clientcmdapi.Config) []string { return keys(c.Clusters) }))
	_ = cmd.RegisterFlagCompletionFunc("user", raw(func(c *clientcmdapi.Config) []string { return keys(c.AuthInfos) }))
	_ = cmd.MarkFlagFilename("config", "yaml", "yml", "json")
}

// Names returns the names of the objects of a kind that begin so, for completion. Whatever
// goes wrong, there are none then.
func (f *Flags) Names(ctx context.Context, kind schema.GroupVersionKind, namespace, prefix string) []string {
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	c, err := f.Connect()
	if err != nil {
		return nil
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind)
	if _, err := c.ReadAll(ctx, list, namespace, "names to complete"); err != nil {
		return nil
	}
	names := make([]string, len(list.Items))
	for i := range list.Items {
		names[i] = list.Items[i].Name
	}
	return startingWith(names, prefix)
}

func startingWith(names []string, prefix string) []string {
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, prefix) })
	slices.Sort(names)
	return names
}

func keys[T any](m map[string]T) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	return names
}
