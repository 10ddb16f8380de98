package page

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Step is a named block of commands, with what the page says that it prints.
type Step struct {
	Name, Script string
	// Output has lines, or parts of lines, that are printed, in any order.
	Output []string
}

// shown is a block of commands that has a name, which only readers of the source see, with the
// block of text behind it, if there is one.
var shown = regexp.MustCompile("(?s)<!-- sh: ([a-z-]+) -->\n```sh\n(.*?)\n```\n(?:\n```text\n(.*?)\n```\n)?")

// Steps reads the named blocks of a Markdown file in their order.
func Steps(file string) ([]Step, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the page: %w", err)
	}
	var steps []Step
	names := map[string]bool{}
	for _, match := range shown.FindAllSubmatch(text, -1) {
		step := Step{Name: string(match[1]), Script: string(match[2])}
		if names[step.Name] {
			return nil, fmt.Errorf("%s has two blocks called %s", file, step.Name)
		}
		names[step.Name] = true
		if len(match[3]) > 0 {
			step.Output = strings.Split(string(match[3]), "\n")
		}
		steps = append(steps, step)
	}
	if len(steps) == 0 {
		return nil, errors.New("there are no named blocks of commands in " + file)
	}
	return steps, nil
}

// Missing returns the lines of the output that are not in what was printed.
func (s *Step) Missing(printed string) []string {
	var missing []string
	for _, line := range s.Output {
		if !strings.Contains(printed, line) {
			missing = append(missing, line)
		}
	}
	return missing
}

// Unnamed returns the first lines of blocks of commands that have no name, and so are run by
// no test.
func Unnamed(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the page: %w", err)
	}
	named := regexp.MustCompile("<!-- sh: [a-z-]+ -->\n```sh\n")
	rest := named.ReplaceAllString(string(text), "")
	var unnamed []string
	for _, match := range regexp.MustCompile("(?m)^```(?:sh|bash|console)\n(.*)$").FindAllStringSubmatch(rest, -1) {
		unnamed = append(unnamed, match[1])
	}
	return unnamed, nil
}
