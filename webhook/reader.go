package webhook

// The strict reading of JSON on which decode.go and decodepod.go are built.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// reader reads JSON text member by member, straight into the fields that are wanted.
//
// It is as strict as RFC 8259 with I-JSON's rules (RFC 7493): a name that stands twice in an
// object, invalid UTF-8 and anything after the value are errors, also inside of values
// that nobody wants. A null leaves a field at its zero value, as in encoding/json.
//
// What is read keeps no reference to the text. Strings are copied into chunks that many
// of them share, so that their number costs no allocations.
type reader struct {
	dec   jsontext.Decoder
	src   bytes.Buffer
	chunk strings.Builder
}

// chunkSize is about what the strings of a usual pod take.
const chunkSize = 2 << 10

// reset makes the reader read data, which must not change before the last read.
func (r *reader) reset(data []byte) {
	r.src = *bytes.NewBuffer(data)
	r.dec.Reset(&r.src)
	r.chunk = strings.Builder{}
}

// release drops every reference to the text and to what was read, before the reader goes
// back to a pool.
func (r *reader) release() {
	r.reset(nil)
}

// keep copies a text into the chunk, or begins another one.
func (r *reader) keep(text []byte) string {
	if r.chunk.Cap()-r.chunk.Len() < len(text) {
		r.chunk = strings.Builder{}
		r.chunk.Grow(max(len(text), chunkSize))
	}
	start := r.chunk.Len()
	r.chunk.Write(text)
	return r.chunk.String()[start:]
}

// end reports an error when anything but white space is left.
func (r *reader) end() error {
	switch _, err := r.dec.ReadToken(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("data after the end of the value, at byte %d", r.dec.InputOffset())
	}
}

// skip passes over a value; its syntax is checked all the same.
func (r *reader) skip() error {
	_, err := r.dec.ReadValue()
	return err
}

// null consumes a null and reports whether there was one.
func (r *reader) null() bool {
	return r.dec.PeekKind() == jsontext.KindNull && r.skip() == nil
}

// raw reads one value of the kind and returns its bytes, valid until the next read.
// Of a null it returns nothing.
func (r *reader) raw(kind jsontext.Kind) (jsontext.Value, error) {
	v, err := r.dec.ReadValue()
	switch {
	case err != nil:
		return nil, err
	case v.Kind() == kind:
		return v, nil
	case v.Kind() == jsontext.KindNull:
		return nil, nil
	default:
		return nil, r.mismatch(kind, v.Kind())
	}
}

func (r *reader) mismatch(want, got jsontext.Kind) error {
	return fmt.Errorf("%s: want %s, got %s", r.where(), kindName(want), kindName(got))
}

// where is the JSON Pointer of the value last read or begun.
func (r *reader) where() string {
	if at := r.dec.StackPointer(); at != "" {
		return string(at)
	}
	return "the whole text"
}

func kindName(k jsontext.Kind) string {
	switch k {
	case jsontext.KindString:
		return "a string"
	case jsontext.KindNumber:
		return "a number"
	case jsontext.KindTrue, jsontext.KindFalse:
		return "a boolean"
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "an array"
	default:
		return k.String()
	}
}

// str reads a string.
func (r *reader) str(dst *string) error {
	v, err := r.raw(jsontext.KindString)
	if err != nil || v == nil {
		return err
	}
	*dst, err = r.unquote(v)
	return err
}

// unquote returns the string that a JSON string stands for.
func (r *reader) unquote(quoted jsontext.Value) (string, error) {
	plain, err := unescape(quoted)
	return r.keep(plain), err
}

// unescape returns the text between the quotes, itself where it has no escapes.
func unescape(quoted jsontext.Value) ([]byte, error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	return jsontext.AppendUnquote(nil, quoted)
}

// boolean reads true or false.
func (r *reader) boolean(dst *bool) error {
	v, err := r.dec.ReadValue()
	if err != nil {
		return err
	}
	switch v.Kind() {
	case jsontext.KindTrue, jsontext.KindFalse, jsontext.KindNull:
		*dst = v.Kind() == jsontext.KindTrue
		return nil
	default:
		return r.mismatch(jsontext.KindTrue, v.Kind())
	}
}

// integer reads a whole number that fits into int64, written without fraction or exponent.
func (r *reader) integer(dst *int64) error {
	v, err := r.raw(jsontext.KindNumber)
	if err != nil || v == nil {
		return err
	}
	if *dst, err = strconv.ParseInt(string(v), 10, 64); err != nil {
		return fmt.Errorf("%s: %w", r.where(), err)
	}
	return nil
}

// object reads an object, calling member with each name, which member must not keep;
// member reads or skips the value. A null is an object without members.
func (r *reader) object(member func(name []byte) error) error {
	if r.null() {
		return nil
	}
	if err := r.begin(jsontext.KindBeginObject); err != nil {
		return err
	}
	for r.dec.PeekKind() != jsontext.KindEndObject {
		quoted, err := r.dec.ReadValue()
		if err != nil {
			return err
		}
		name, err := unescape(quoted)
		if err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
	}
	return r.skipEnd()
}

// begin reads the opening brace or bracket.
func (r *reader) begin(want jsontext.Kind) error {
	tok, err := r.dec.ReadToken()
	if err == nil && tok.Kind() != want {
		err = r.mismatch(want, tok.Kind())
	}
	return err
}

// skipEnd reads the closing brace or bracket that was peeked at.
func (r *reader) skipEnd() error {
	_, err := r.dec.ReadToken()
	return err
}

// list reads an array into dst, calling item for each element. Room is made for a few
// elements at first, as most lists of a pod are short.
func list[T any](r *reader, dst *[]T, room int, item func(*reader, *T) error) error {
	if r.null() {
		return nil
	}
	if err := r.begin(jsontext.KindBeginArray); err != nil {
		return err
	}
	items := []T{}
	for r.dec.PeekKind() != jsontext.KindEndArray {
		if cap(items) == 0 {
			items = make([]T, 0, room)
		}
		var zero T
		items = append(items, zero)
		if err := item(r, &items[len(items)-1]); err != nil {
			return err
		}
	}
	*dst = items
	return r.skipEnd()
}

// pointer reads what item reads into a new T; a null leaves dst nil.
func pointer[T any](r *reader, dst **T, item func(*reader, *T) error) error {
	if r.null() {
		return nil
	}
	v := new(T)
	*dst = v
	return item(r, v)
}

// stringMap reads an object whose values are strings.
func (r *reader) stringMap(dst *map[string]string) error {
	if r.null() {
		return nil
	}
	if err := r.begin(jsontext.KindBeginObject); err != nil {
		return err
	}
	entries := map[string]string{}
	for r.dec.PeekKind() != jsontext.KindEndObject {
		quoted, err := r.dec.ReadValue()
		if err != nil {
			return err
		}
		name, err := r.unquote(quoted)
		if err != nil {
			return err
		}
		var value string
		if err := r.str(&value); err != nil {
			return err
		}
		entries[name] = value
	}
	*dst = entries
	return r.skipEnd()
}
