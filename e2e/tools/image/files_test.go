package main

import (
	"bytes"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The Makefile, the Dockerfile and this program each say how the product is built. These
// tests hold them together.

func TestOneWayToBuild(t *testing.T) {
	args := buildArgs("VERSION", "OUT", "mtls-injector")
	require.Equal(t, "-ldflags", args[3])
	want := "go build " + args[2] + " -ldflags '" + args[4] + "'"

	makefile := string(readFile(t, productRoot, "Makefile"))
	assert.Contains(t, makefile, "CGO_ENABLED=0 "+strings.ReplaceAll(want, "VERSION", "$(VERSION)"))

	dockerfile := string(readFile(t, productRoot, "Dockerfile"))
	want = strings.ReplaceAll(strings.ReplaceAll(want, "'", `"`), "VERSION", "${VERSION}")
	assert.Contains(t, dockerfile, want+" -o /out/ ./cmd/mtls-injector ./cmd/mtls-agent\n")
	assert.Contains(t, dockerfile, "RUN CGO_ENABLED=0 ")
}

// TestOneImage holds the Dockerfile's image and the assembled one together.
func TestOneImage(t *testing.T) {
	dockerfile := string(readFile(t, productRoot, "Dockerfile"))
	config, err := assembleTiny(t, "amd64").ConfigFile()
	require.NoError(t, err)

	labels := map[string]string{}
	for _, found := range regexp.MustCompile(`(org\.[a-z.]+)="([^"]*)"`).FindAllStringSubmatch(dockerfile, -1) {
		labels[found[1]] = found[2]
	}
	// What the Dockerfile is told is the same by the test of the engine's commands.
	told := map[string]string{"version": "VERSION", "revision": "REVISION", "source": "SOURCE", "created": "CREATED"}
	for key, arg := range told {
		name := "org.opencontainers.image." + key
		assert.Equal(t, "${"+arg+"}", labels[name])
		labels[name] = config.Config.Labels[name]
	}
	assert.Equal(t, config.Config.Labels, labels)

	assert.Contains(t, dockerfile, "\nUSER "+config.Config.User+"\n")
	assert.Contains(t, dockerfile, "\nENTRYPOINT [\""+config.Config.Entrypoint[0]+"\"]\n")
	assert.Contains(t, dockerfile, "\nCOPY LICENSE /LICENSE\n")
	for _, program := range []string{"mtls-injector", "mtls-agent"} {
		assert.Contains(t, dockerfile, "\nCOPY --from=build /out/"+program+" /"+program+"\n")
	}
	ports := regexp.MustCompile(`\nEXPOSE (.+)\n`).FindStringSubmatch(dockerfile)
	require.NotNil(t, ports)
	for port := range strings.FieldsSeq(ports[1]) {
		assert.Contains(t, config.Config.ExposedPorts, port+"/tcp")
	}
	assert.Len(t, config.Config.ExposedPorts, len(strings.Fields(ports[1])))
}

// TestDockerignore makes sure that a container build sees every package that it compiles.
func TestDockerignore(t *testing.T) {
	ignored := readFile(t, productRoot, ".dockerignore")
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{.ImportPath}}", "./cmd/mtls-injector", "./cmd/mtls-agent")
	cmd.Dir = productRoot
	out, err := cmd.Output()
	require.NoError(t, err)
	seen := 0
	for line := range bytes.Lines(out) {
		path, ours := strings.CutPrefix(strings.TrimSpace(string(line)), "example.io/mtls-injector/")
		if !ours {
			continue
		}
		seen++
		folder, _, _ := strings.Cut(path, "/")
		assert.Contains(t, string(ignored), "\n!"+folder+"\n")
	}
	assert.Positive(t, seen)
	for _, file := range []string{"go.mod", "go.sum", "LICENSE"} {
		assert.Contains(t, string(ignored), "\n!"+file+"\n")
	}
}

func TestHelp(t *testing.T) {
	for _, name := range []string{"archive", "sbom", "dist", "build"} {
		t.Run(name, func(t *testing.T) {
			var out, progress bytes.Buffer
			cmd := newCommand(&progress)
			cmd.SetOut(&out)
			cmd.SetArgs([]string{name, "--help"})
			require.NoError(t, cmd.ExecuteContext(t.Context()))
			assert.Contains(t, out.String(), "Examples:\n  image "+name+" --version v1.2.3\n")
			assert.Contains(t, out.String(), "--source-date-epoch seconds")
			assert.Empty(t, progress.String())
		})
	}
}

func TestCommandFails(t *testing.T) {
	var progress bytes.Buffer
	cmd := newCommand(&progress)
	cmd.SetArgs([]string{"archive", "--root", t.TempDir(), "--image", "Not:a:reference"})
	require.ErrorContains(t, cmd.ExecuteContext(t.Context()), "--image: ")
}
