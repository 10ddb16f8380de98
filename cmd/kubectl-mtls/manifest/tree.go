package manifest

import (
	"slices"
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
	c.Content = make([]*yaml.Node, len(node.Content))
	for i, child := range node.Content {
		c.Content[i] = plain(child)
		if isKey := node.Kind == yaml.MappingNode && i%2 == 0; isKey || node.Style&yaml.FlowStyle != 0 {
			spellNull(c.Content[i])
		}
	}
	if c.Kind == yaml.MappingNode {
		merge(&c)
	}
	return &c
}

// spellNull writes null out where the encoder would make an empty text of nothing.
func spellNull(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode && node.Value == "" && node.ShortTag() == "!!null" {
		node.Value = "null"
	}
}

// merge replaces the merge keys of the mapping by the pairs that they stand for. As in
// kubectl, of a key that stands twice then, the last one counts, written or merged.
func merge(mapping *yaml.Node) {
	content := mapping.Content
	isMerge := func(key *yaml.Node) bool { return key.Tag == "!!merge" }
	if !slices.ContainsFunc(content, isMerge) {
		return
	}
	mapping.Content = nil
	for i := 0; i < len(content); i += 2 {
		if !isMerge(content[i]) {
			set(mapping, content[i:i+2])
			continue
		}
		sources := []*yaml.Node{content[i+1]}
		if content[i+1].Kind == yaml.SequenceNode {
			sources = content[i+1].Content
		}
		for _, source := range slices.Backward(sources) { // the first one wins
			set(mapping, source.Content)
		}
	}
}

// set puts pairs of key and value into the mapping, in place of a key that is there.
func set(mapping *yaml.Node, pairs []*yaml.Node) {
	for i := 0; i < len(pairs); i += 2 {
		at := 0
		for at < len(mapping.Content) && mapping.Content[at].Value != pairs[i].Value {
			at += 2
		}
		mapping.Content = slices.Replace(mapping.Content, at, min(at+2, len(mapping.Content)), pairs[i], pairs[i+1])
	}
}
