package main

import (
	"bytes"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	plugin "example.io/mtls-injector/cmd/kubectl-mtls/app"
	program "example.io/mtls-injector/cmd/mtls-injector/app"
)

const cliIntroduction = `# Command line

Three programs: the plugin ` + "`kubectl mtls`" + ` for people, ` + "`mtls-injector`" + `, which runs in the cluster, and ` + "`mtls-agent`" + `, the
[agent](../agent.md) in pods that ask for it, which has the commands of ` + "`mtls-injector agent`" + ` in less memory. Each has a command
` + "`completion`" + ` that prints the completion script of a shell.

`

// cliPage documents every command of the programs.
func cliPage() (string, error) {
	var page bytes.Buffer
	page.WriteString(generated + cliIntroduction)
	for _, root := range []*cobra.Command{plugin.NewCommand("", genericiooptions.IOStreams{}), program.NewCommand("")} {
		if err := document(&page, root); err != nil {
			return "", err
		}
	}
	return strings.TrimRight(page.String(), "\n") + "\n", nil
}

// document adds a command and those below it.
func document(page *bytes.Buffer, cmd *cobra.Command) error {
	if err := doc.GenMarkdownCustom(cmd, page, anchor); err != nil {
		return err
	}
	for _, child := range cmd.Commands() {
		if !child.IsAvailableCommand() {
			continue
		}
		if err := document(page, child); err != nil {
			return err
		}
	}
	return nil
}

// anchor turns the name of the page that a command would have into a link on this one.
func anchor(file string) string {
	return "#" + strings.ReplaceAll(strings.TrimSuffix(file, ".md"), "_", "-")
}
