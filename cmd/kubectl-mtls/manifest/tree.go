package manifest

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// The functions of this file read trees: mappings by key, without aliases and merges.

// lookup returns the value at the path of keys, or nil.
func lookup(node *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		i := indexOf(node, key)
		if i < 0 {
			return nil
		}
		node = node.Content[i+1]
	}
	return node
}

// indexOf returns the index of a mapping's key in its content, or -1; the value follows.
func indexOf(node *yaml.Node, key string) int {
	if node.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i < len(node.Content); i += 2 {
		if text, err := keyText(node.Content[i]); err == nil && text == key {
			return i
		}
	}
	return -1
}

// textAt returns the string at the path, or "" if there is none or it is no string.
func textAt(node *yaml.Node, path ...string) string {
	found := lookup(node, path...)
	if found == nil || found.Kind != yaml.ScalarNode || found.ShortTag() != "!!str" {
		return ""
	}
	return found.Value
}

// plain returns a copy of the tree in which every alias and merge key is replaced by what
// it stands for: a patch must change one place, not all that share it. The tree has been
// decoded before, which bounds what aliases can multiply to.
func plain(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		target := plain(node.Alias)
		target.HeadComment, target.LineComment, target.FootComment = node.HeadComment, node.LineComment, node.FootComment
		return target
	}
	c := *node
	c.Anchor = ""
	if c.Style&yaml.FoldedStyle != 0 && strings.Contains(c.Value, "\n") {
		c.Style = yaml.LiteralStyle // yaml.v3 doubles the ends of indented lines when it folds
	}
	c.Content = make([]*yaml.Node, 0, len(node.Content))
	for i := 0; i < len(node.Content); i++ {
		child := plain(node.Content[i])
		isKey := node.Kind == yaml.MappingNode && i%2 == 0
		if isKey && child.Tag == "!!merge" {
			i++
			c.Content = append(c.Content, merged(node, c.Content, plain(node.Content[i]))...)
			continue
		}
		if isKey || node.Style&yaml.FlowStyle != 0 {
			spellNull(child)
		}
		c.Content = append(c.Content, child)
	}
	return &c
}

// spellNull writes null out where the encoder would make an empty text of nothing.
func spellNull(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode && node.Value == "" && node.ShortTag() == "!!null" {
		node.Value = "null"
	}
}

// merged returns the pairs that a merge key adds to the mapping: those of the value, or of
// the mappings in it, that neither the mapping itself nor an earlier merge has.
func merged(mapping *yaml.Node, before []*yaml.Node, value *yaml.Node) []*yaml.Node {
	sources := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		sources = value.Content
	}
	taken := map[string]bool{}
	take := func(pairs []*yaml.Node) {
		for i := 0; i < len(pairs); i += 2 {
			taken[pairs[i].Value] = true
		}
	}
	take(mapping.Content)
	take(before)
	var added []*yaml.Node
	for _, source := range sources {
		for i := 0; i < len(source.Content); i += 2 {
			if !taken[source.Content[i].Value] {
				added = append(added, source.Content[i], source.Content[i+1])
			}
		}
		take(source.Content)
	}
	return added
}
