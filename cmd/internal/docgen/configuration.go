package main

import (
	"fmt"
	"os"

	"example.io/mtls-injector/config"
)

const configurationText = `# Configuration

The injector reads one file, ` + "`mtls-injector webhook --config FILE`" + `, and ` + "`kubectl mtls inject --config FILE`" + ` reads the same.
It is YAML of the kind %s,
version %s. Without a file, the defaults hold. This is the whole of it, every field at its default:

` + "```yaml\n%s```\n"

// configurationPage documents the configuration by the example, which must be right.
func configurationPage(example string) (string, error) {
	if _, err := config.Load(example); err != nil {
		return "", err
	}
	text, err := os.ReadFile(example)
	if err != nil {
		return "", err
	}
	return generated + fmt.Sprintf(configurationText, code(config.Kind), code(config.APIVersion), text), nil
}
