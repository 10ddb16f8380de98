package inject

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever comes in: either it is refused and nothing is printed, or what is printed can
// be read again, needs nothing more, and has everything that was there before.
func FuzzInject(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if !strings.HasSuffix(file, ".txt") {
			f.Add(string(text))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		stdout, stderr, err := run(text, "-f", "-", "--namespace-annotations", "mtls.example.io/role=both")
		if err != nil {
			if stdout != "" {
				t.Fatalf("printed in spite of %v:\n%s", err, stdout)
			}
			if err.Error() == errNothingPrinted.Error() && !strings.Contains(stderr, "error: ") {
				t.Fatalf("refused without a reason: %s", stderr)
			}
			return
		}
		again, stderr, err := run(stdout, "-f", "-", "--namespace-annotations", "mtls.example.io/role=both")
		require.NoError(t, err, stderr)
		require.Equal(t, stdout, again)
		before, after := jsonOf(t, text), jsonOf(t, stdout)
		require.Len(t, after, len(before))
		for i := range before {
			if lost := missing(before[i], after[i]); lost != "" {
				t.Fatalf("lost or changed: %s", lost)
			}
		}
	})
}

// jsonOf returns the JSON of every object in the text.
func jsonOf(t *testing.T, text string) []any {
	t.Helper()
	var all []any
	for _, o := range objects(t, text) {
		data, err := o.JSON()
		if err != nil {
			continue // a document that is only passed on
		}
		var value any
		require.NoError(t, json.Unmarshal(data, &value))
		all = append(all, value)
	}
	return all
}

// missing returns what before has and after has not, as a path; "" if that is nothing.
// The injector may add members and items; it may change a probe into a tcpSocket, raise
// the grace period, and replace what it wrote itself, its status and volumes.
func missing(before, after any) string {
	switch was := before.(type) {
	case map[string]any:
		is, _ := after.(map[string]any)
		if isOurVolume(was) && isOurVolume(is) {
			return "" // replaced where the status annotation says that we wrote it
		}
		for key, value := range was {
			if mayChange(key) || value == nil {
				continue
			}
			if lost := missing(value, is[key]); lost != "" {
				return "." + key + lost
			}
		}
		if is == nil && len(was) > 0 {
			return " is gone"
		}
	case []any:
		is, _ := after.([]any)
		for _, value := range was {
			if !containsAtLeast(is, value) {
				data, _ := json.Marshal(value)
				return "[" + string(data) + "]"
			}
		}
	default:
		if !reflect.DeepEqual(before, after) {
			return " is another value"
		}
	}
	return ""
}

// isOurVolume reports whether an object is a volume, not a mount, of a reserved name.
func isOurVolume(object map[string]any) bool {
	_, isMount := object["mountPath"]
	return !isMount && (object["name"] == "mtls-certs" || object["name"] == "mtls-ca")
}

func mayChange(key string) bool {
	switch key {
	case "mtls.example.io/status", "mtls.example.io/injected", "terminationGracePeriodSeconds", "livenessProbe", "readinessProbe", "startupProbe":
		return true
	}
	return false
}

func containsAtLeast(list []any, value any) bool {
	for _, item := range list {
		if missing(value, item) == "" {
			return true
		}
	}
	return false
}
