package intent

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
)

// The functions of this file parse one annotation value each. Their errors say what is
// allowed and never repeat the value: the caller names key and value.

// maxItems bounds the lists: more names than this belong into several workloads.
const maxItems = 100

// words returns the values of an enumeration as strings.
func words[T ~string](values ...T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

func keyAlgorithms() []string {
	return words(cmapi.ECDSAKeyAlgorithm, cmapi.RSAKeyAlgorithm, cmapi.Ed25519KeyAlgorithm)
}

func envProfiles() []string {
	return words(EnvMTLS, EnvOpenSSL, EnvCurl, EnvPython, EnvNode, EnvGRPC, EnvPostgres, EnvAWS, EnvNone)
}

func signals() []string {
	return []string{"SIGHUP", "SIGUSR1", "SIGUSR2", "SIGINT", "SIGQUIT", "SIGTERM", "SIGWINCH"}
}

// notOneOf is the error of an enumeration.
func notOneOf(word string, allowed []string) error {
	return errors.New("must be one of " + strings.Join(allowed, ", ") + didYouMean(word, allowed))
}

func setOneOf[T ~string](field func(*settings) *T, allowed []string) func(*settings, string) error {
	return func(s *settings, value string) error {
		if !slices.Contains(allowed, value) {
			return notOneOf(value, allowed)
		}
		*field(s) = T(value)
		return nil
	}
}

func setWord[T ~string](field func(*settings) *T, allowed ...T) func(*settings, string) error {
	return setOneOf(field, words(allowed...))
}

// setText sets a single text that check accepts; check returns what is allowed.
func setText(field func(*settings) *string, check func(string) error) func(*settings, string) error {
	return func(s *settings, value string) error {
		if err := check(value); err != nil {
			return err
		}
		*field(s) = value
		return nil
	}
}

// splitList splits at commas, trims, and drops repetitions; an empty item is an error,
// for it is more likely a slip than a wish.
func splitList(value string) ([]string, error) {
	count := strings.Count(value, ",") + 1
	if count > maxItems {
		return nil, fmt.Errorf("must have at most %d items", maxItems)
	}
	items := make([]string, 0, count)
	for item := range strings.SplitSeq(value, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			return nil, errors.New("must be a comma-separated list without empty items")
		}
		if !slices.Contains(items, item) {
			items = append(items, item)
		}
	}
	return items, nil
}

func setList(field func(*settings) *[]string, check func(string) error) func(*settings, string) error {
	return func(s *settings, value string) error {
		items, err := splitList(value)
		if err != nil {
			return err
		}
		for _, item := range items {
			if err := check(item); err != nil {
				return fmt.Errorf("item %s: %w", quote(item), err)
			}
		}
		*field(s) = items
		return nil
	}
}

func setBool(field func(*settings) *bool) func(*settings, string) error {
	return func(s *settings, value string) error {
		if value != "true" && value != "false" {
			return errors.New(`must be "true" or "false"`)
		}
		*field(s) = value == "true"
		return nil
	}
}

func setInteger(field func(*settings) *int64, lowest, highest int64) func(*settings, string) error {
	return func(s *settings, value string) error {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < lowest || n > highest || strconv.FormatInt(n, 10) != value {
			return fmt.Errorf("must be a whole number from %d to %d", lowest, highest)
		}
		*field(s) = n
		return nil
	}
}

func setDuration(field func(*settings) *time.Duration) func(*settings, string) error {
	return func(s *settings, value string) error {
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 || d%time.Second != 0 {
			return errors.New("must be a Go duration of whole seconds such as 720h or 90m")
		}
		*field(s) = d
		return nil
	}
}

// setKeyAlgorithm takes any case, as the CSI driver does.
func setKeyAlgorithm(s *settings, value string) error {
	for _, algorithm := range keyAlgorithms() {
		if strings.EqualFold(algorithm, value) {
			s.keyAlgorithm = cmapi.PrivateKeyAlgorithm(algorithm)
			return nil
		}
	}
	return notOneOf(value, keyAlgorithms())
}

func setEnv(s *settings, value string) error {
	items, err := splitList(value)
	if err != nil {
		return err
	}
	allowed := envProfiles()
	profiles := make([]EnvProfile, len(items))
	for i, item := range items {
		if !slices.Contains(allowed, item) {
			return fmt.Errorf("item %s: %w", quote(item), notOneOf(item, allowed))
		}
		profiles[i] = EnvProfile(item)
	}
	if slices.Contains(profiles, EnvNone) {
		if len(profiles) > 1 {
			return errors.New("none must stand alone")
		}
		profiles = nil
	}
	s.env = profiles
	return nil
}

func setBundle(s *settings, value string) error {
	kind, name := s.bundle.Kind, value
	if before, after, found := strings.Cut(value, "/"); found {
		kind, name = BundleKind(before), after
	}
	switch kind {
	case BundleConfigMap:
		if err := objectName(name); err != nil {
			return err
		}
	case BundleClusterTrustBundle:
		if err := clusterTrustBundleName(name); err != nil {
			return err
		}
	default:
		return errors.New("must be a name, ConfigMap/name or ClusterTrustBundle/name")
	}
	s.bundle.Kind, s.bundle.Name = kind, name
	return nil
}

// quote shows a value in a message: control characters escaped, long ones cut.
func quote(value string) string { return strconv.Quote(shorten(value)) }

// shorten cuts a value that is too long for a message.
func shorten(value string) string {
	const longest = 120
	if len(value) <= longest {
		return value
	}
	return strings.ToValidUTF8(value[:longest], "") + "…"
}

// some joins names for a message, the first few of many.
func some(names []string) string {
	const most = 10
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + " and " + strconv.Itoa(len(names)-most) + " more"
}
