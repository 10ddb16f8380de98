package injector

import (
	"encoding/json"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
	"gomodules.xyz/jsonpatch/v2"
)

// AppendJSON appends the operations as a JSON Patch document (RFC 6902). It says the same
// as encoding/json, and is faster for the values that [Patch] makes; those of other types
// go through encoding/json, whose errors it returns.
func AppendJSON(dst []byte, ops []jsonpatch.Operation) ([]byte, error) {
	var err error
	dst = append(dst, '[')
	for i := range ops {
		op := &ops[i]
		dst = appendQuoted(append(comma(dst, i), `{"op":`...), op.Operation)
		dst = appendQuoted(append(dst, `,"path":`...), op.Path)
		if op.Value != nil || op.Operation == "add" || op.Operation == "replace" {
			if dst, err = appendValue(append(dst, `,"value":`...), op.Value); err != nil {
				return nil, fmt.Errorf("%s %s: %w", op.Operation, op.Path, err)
			}
		}
		dst = append(dst, '}')
	}
	return append(dst, ']'), nil
}

// value is the value of an operation that knows its own JSON. Every value type also has
// a MarshalJSON of one line, for those who marshal operations with encoding/json.
type value interface {
	appendJSON(dst []byte) []byte
}

func appendValue(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case value:
		return v.appendJSON(dst), nil
	case string:
		return appendQuoted(dst, v), nil
	default:
		encoded, err := json.Marshal(v)
		return append(dst, encoded...), err
	}
}

// list is a JSON array of values.
type list[T any, P interface {
	*T
	value
}] []T

func (l list[T, P]) MarshalJSON() ([]byte, error) { return l.appendJSON(nil), nil }

func (l list[T, P]) appendJSON(dst []byte) []byte {
	dst = append(dst, '[')
	for i := range l {
		dst = P(&l[i]).appendJSON(comma(dst, i))
	}
	return append(dst, ']')
}

// pair is a JSON object of one text member.
type pair struct{ key, value string }

func (p *pair) MarshalJSON() ([]byte, error) { return p.appendJSON(nil), nil }

func (p *pair) appendJSON(dst []byte) []byte {
	dst = appendQuoted(append(dst, '{'), p.key)
	dst = appendQuoted(append(dst, ':'), p.value)
	return append(dst, '}')
}

// appendTexts appends a JSON array of the texts that are found under 0 to n-1.
func appendTexts(dst []byte, n int, text func(i int) string) []byte {
	dst = append(dst, '[')
	for i := range n {
		dst = appendQuoted(comma(dst, i), text(i))
	}
	return append(dst, ']')
}

// appendQuoted appends a JSON string. Invalid UTF-8 becomes U+FFFD, as in encoding/json.
func appendQuoted(dst []byte, text string) []byte {
	dst, _ = jsontext.AppendQuote(dst, text) // the error only says that something became U+FFFD
	return dst
}

// comma separates the item of that index from the one before.
func comma(dst []byte, index int) []byte {
	if index > 0 {
		return append(dst, ',')
	}
	return dst
}
