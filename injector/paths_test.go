package injector_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// FuzzMountPath mounts a volume of the user's somewhere and asks path/filepath where that
// is: in or below our folder it must be refused, above it must be warned of, and anywhere
// else there is nothing to say.
func FuzzMountPath(f *testing.F) {
	for _, folder := range []string{"/certs", "/srv/a/b", "/..data"} {
		for _, mount := range []string{
			"/certs", "/certs/", "//certs", "certs", "/certs/tls.crt", "/certs2", "/cert", "/", "", ".", "/srv", "/srv/a/b/c", "/srv/a/../a/b",
			"/srv/../certs/x", "..", "../../certs", "/..data/x", "/...", "/certs\x00", "/CERTS", "/srv/a/bb",
		} {
			f.Add(folder, mount)
		}
	}
	base := resolve(f, defaults(), podWith(intent.Container{}))
	f.Fuzz(func(t *testing.T, folder, mount string) {
		if !strings.HasPrefix(folder, "/") || folder == "/" || filepath.Clean(folder) != folder {
			return // not a mount path that the annotation can have
		}
		in := *base
		in.Delivery, in.MountPath = intent.DeliverySecret, folder
		result := injector.Patch(mounting(intent.VolumeMount{Name: "data", MountPath: mount}), &in)

		fromUs, err := filepath.Rel(folder, filepath.Join("/", mount))
		require.NoError(t, err)
		fromIt, err := filepath.Rel(filepath.Join("/", mount), folder)
		require.NoError(t, err)
		switch {
		case !climbs(fromUs):
			require.Len(t, result.Errors, 1)
			require.Equal(t, "spec.containers[0].volumeMounts[0].mountPath", result.Errors[0].Field)
			require.Empty(t, result.Warnings)
		case !climbs(fromIt):
			require.Empty(t, result.Errors)
			require.Len(t, result.Warnings, 1)
		default:
			require.Empty(t, result.Errors)
			require.Empty(t, result.Warnings)
		}
	})
}

// climbs reports whether a relative path leaves its folder.
func climbs(rel string) bool { return rel == ".." || strings.HasPrefix(rel, "../") }
