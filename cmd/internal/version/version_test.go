package version

import (
	"bytes"
	"errors"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFrom(t *testing.T) {
	commit := debug.BuildSetting{Key: "vcs.revision", Value: "abc"}
	for name, c := range map[string]struct {
		linked string
		info   debug.BuildInfo
		want   Build
	}{
		"nothing known":   {"", debug.BuildInfo{}, Build{"dev", "unknown"}},
		"linked":          {"v1.2.3", debug.BuildInfo{Main: debug.Module{Version: "v0.0.1"}}, Build{"v1.2.3", "unknown"}},
		"installed":       {"", debug.BuildInfo{Main: debug.Module{Version: "v0.0.1"}}, Build{"v0.0.1", "unknown"}},
		"without stamp":   {"", debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, Build{"dev", "unknown"}},
		"checkout":        {"", debug.BuildInfo{Settings: []debug.BuildSetting{commit, {Key: "vcs.modified", Value: "false"}}}, Build{"dev", "abc"}},
		"changed":         {"", debug.BuildInfo{Settings: []debug.BuildSetting{commit, {Key: "vcs.modified", Value: "true"}}}, Build{"dev", "abc-dirty"}},
		"changed, sorted": {"", debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.modified", Value: "true"}, commit}}, Build{"dev", "abc-dirty"}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, from(c.linked, &c.info))
		})
	}
}

func TestOf(t *testing.T) {
	assert.Equal(t, "v9", Of("v9").Version)
	assert.NotEmpty(t, Of("").Version)
	assert.NotEmpty(t, Of("").Revision)
}

func TestCommand(t *testing.T) {
	var out bytes.Buffer
	cmd := NewCommand("prog", Build{Version: "v1", Revision: "abc"})
	cmd.SetOut(&out)
	cmd.SetArgs([]string{})
	require.NoError(t, cmd.Execute())
	assert.Equal(t, "prog v1 (commit abc, "+runtime.Version()+", "+runtime.GOOS+"/"+runtime.GOARCH+")\n", out.String())

	cmd.SetOut(full{})
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	require.EqualError(t, cmd.Execute(), "disk full")
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }
