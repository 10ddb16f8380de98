package intent

import cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"

// What the configuration file needs of the annotations' rules, so that one value is
// right or wrong in both places alike.

// Check parses a value as the annotation of that name (without [Prefix]) would be. Its
// error says what is allowed and does not repeat the value. Rules that depend on other
// values are not checked. It panics when there is no such annotation.
func Check(name, value string) error {
	s := newSettings(BuiltinDefaults())
	return table[lookup(name)].set(&s, value)
}

// DidYouMean returns `; did you mean "..."?` with the candidate that is nearest to the
// word, or "" when none is near.
func DidYouMean(word string, candidates []string) string { return didYouMean(word, candidates) }

// DefaultKeySize returns the size in bits for an algorithm that is given without one, 0
// for those that have none.
func DefaultKeySize(algorithm cmapi.PrivateKeyAlgorithm) int { return defaultKeySize(algorithm) }
