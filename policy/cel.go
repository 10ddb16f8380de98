package policy

// Pieces of CEL (https://cel.dev) as approver-policy evaluates it: self is the value, cr
// the request. What comes from the configuration is quoted, and in regular expressions
// (RE2) twice. cr.namespace is no more than a DNS label, which means itself in both.

import (
	"regexp"
	"strconv"
	"strings"
)

// label is a regular expression for a DNS label in the one spelling that names have here
// (RFC 1123, lower case).
const label = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"

// maxCommonName is the upper bound of RFC 5280, appendix A.1.
const maxCommonName = 64

// quote writes a string literal. Go's escapes are CEL's, too.
func quote(s string) string { return strconv.Quote(s) }

// list writes a list of strings.
func list(items []string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = quote(item)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// meta writes a regular expression for a text that stands for itself. A dot in brackets
// needs no backslash, which a string literal would double.
func meta(s string) string { return strings.ReplaceAll(regexp.QuoteMeta(s), `\.`, "[.]") }

// matches writes the term that the whole value matches an expression.
func matches(expression string) string { return "self.matches(" + quote("^"+expression+"$") + ")" }

// matchesAround is matches with the request's namespace between two expressions.
func matchesAround(before, after string) string {
	return "self.matches(" + quote("^"+before) + " + cr.namespace + " + quote(after+"$") + ")"
}

// anyOf writes a disjunction, a line for each term.
func anyOf(terms []string) string { return strings.Join(terms, "\n|| ") }

// anySPIFFEID is that of any service account of the request's namespace.
func anySPIFFEID(trustDomain string) string {
	return matchesAround("spiffe://"+meta(trustDomain)+"/ns/", "/sa/"+label+"([.]"+label+")*")
}

// ownSPIFFEID is that of the user who asks.
func ownSPIFFEID(trustDomain string) string {
	return "self == " + quote("spiffe://"+trustDomain+"/ns/") + ` + cr.namespace + "/sa/" + serviceAccount(cr.username).getName()`
}

// uriPattern translates the part of path.Match that checkText has let through.
func uriPattern(pattern string) string {
	var out strings.Builder
	for _, r := range pattern {
		switch r {
		case '*':
			out.WriteString("[^/]*")
		case '?':
			out.WriteString("[^/]")
		default:
			out.WriteString(meta(string(r)))
		}
	}
	return out.String()
}
