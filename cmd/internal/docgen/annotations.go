package main

import (
	"fmt"
	"maps"
	"slices"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

const annotationsIntroduction = `# Annotations

All annotations begin with ` + "`" + intent.Prefix + "`" + `. They stand on a pod (in a workload: on its pod template) or, where the table
allows it, on a namespace, for all pods in it. A pod's value beats its namespace's, and that beats the
[configuration](configuration.md), whose defaults as shipped are shown here.

A pod is injected if it, or its namespace, has a role. An unknown annotation under the prefix, and a value that is not
allowed, is refused with all problems at once.

`

// annotationsPage documents annotations, skip reasons and environment variables.
func annotationsPage() string {
	text := generated + annotationsIntroduction + annotationTable()
	text += fmt.Sprintf(`
Lists are separated by commas. The label %s marks the pods that were injected; it is written by the injector, too.

## Pods that are left alone

These words stand in the audit annotations of the API server, in metrics and in logs.

`, code(intent.LabelInjected+": \"true\"")) + skipTable()
	text += `
## Environment variables

Each value of the annotation ` + code("env") + ` adds these variables to the containers that get the files. A variable that a container
has already stays as it is, with a warning. With ` + code("mount-path") + ` the key pair is found in that folder.

` + variableTable()
	return text
}

func annotationTable() string {
	var rows [][]string
	for _, key := range intent.Keys() {
		value := key.Type
		if len(key.Values) > 0 {
			value += ": " + codes(key.Values)
		}
		pod, namespace := "✓", "✓"
		switch key.Scope {
		case intent.ScopePod:
			namespace = ""
		case intent.ScopeStatus:
			pod, namespace = "", ""
		}
		rows = append(rows, []string{code(key.Name), value, key.Default, pod, namespace, key.Help})
	}
	return table([]string{"annotation", "value", "default", "pod", "namespace", "meaning"}, rows)
}

func skipTable() string {
	reasons := intent.SkipReasons()
	var rows [][]string
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		rows = append(rows, []string{code(string(reason)), reasons[reason]})
	}
	return table([]string{"reason", "meaning"}, rows)
}

func variableTable() string {
	roles := map[intent.Role]string{intent.RoleServer: "server, both", intent.RoleClient: "client, both", intent.RoleBoth: "all"}
	var rows [][]string
	for _, variable := range injector.Variables() {
		rows = append(rows, []string{
			code(string(variable.Profile)), code(variable.Name), roles[variable.Role], code(variable.Value), variable.Help,
		})
	}
	return table([]string{"env", "variable", "roles", "value", "meaning"}, rows)
}
