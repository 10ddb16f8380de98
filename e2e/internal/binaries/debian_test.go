package binaries

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeTool writes a script into a folder of programs.
func fakeTool(t *testing.T, dir, name, script string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700))
}

func TestUnpack(t *testing.T) {
	const unpacks = `mkdir -p "$3/usr/sbin"; cp "$2" "$3/usr/sbin/runc"`
	cases := map[string]struct {
		apt, dpkg string
		want      string // the error's end
	}{
		"at once":         {apt: `touch runc.deb`, dpkg: unpacks},
		"stale lists":     {apt: `if [ "$1" = update ]; then touch lists; exit 1; fi; [ -e lists ] && touch runc.deb`, dpkg: unpacks},
		"no such package": {apt: `echo "E: Unable to locate package"; exit 100`, want: "E: Unable to locate package"},
		"a broken one":    {apt: `touch runc.deb`, dpkg: `echo "unexpected end of file"; exit 2`, want: "unexpected end of file"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tools := t.TempDir()
			fakeTool(t, tools, "apt-get", tc.apt)
			fakeTool(t, tools, "dpkg-deb", tc.dpkg)
			t.Setenv("PATH", tools+":"+os.Getenv("PATH"))
			b, lines := newTestBuilder(t)
			packages, err := b.unpack(t.Context(), "some", []string{"runc"})
			assert.Equal(t, []string{"downloading Debian's packages runc (once)"}, *lines)
			if tc.want != "" {
				require.ErrorContains(t, err, tc.want)
				left, err := filepath.Glob(filepath.Join(b.dir, "some*[^k]"))
				require.NoError(t, err)
				assert.Empty(t, left, "half a folder is none")
				return
			}
			require.NoError(t, err)
			assert.FileExists(t, filepath.Join(packages.Root, "usr/sbin/runc"))
			again, err := b.unpack(t.Context(), "some", []string{"runc"})
			require.NoError(t, err)
			assert.Equal(t, packages, again)
			assert.Len(t, *lines, 1, "nothing is downloaded again")
		})
	}
}

func TestUnpackWithoutApt(t *testing.T) {
	b, _ := newTestBuilder(t)
	t.Setenv("PATH", t.TempDir())
	_, err := b.unpack(t.Context(), "some", []string{"runc"})
	require.ErrorContains(t, err, "a real node needs runc and iptables from the packages of Debian or Ubuntu, and there is no apt-get here: ")
}
