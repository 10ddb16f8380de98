package binaries

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
)

// prometheusTags leave out the discovery of targets in clouds, whose clients are most of the
// build; targets in files and over HTTP stay.
const prometheusTags = "netgo,remove_all_sd"

// Prometheus holds the paths of Prometheus's programs.
type Prometheus struct {
	// Server is prometheus, without its pages; Tool is promtool.
	Server, Tool string
}

// EnsurePrometheus returns Prometheus's programs, built once per version into the user's cache
// folder.
func EnsurePrometheus(ctx context.Context, progress Progress) (*Prometheus, error) {
	b, err := newBuilder(ctx, progress)
	if err != nil {
		return nil, err
	}
	const name = "github.com/prometheus/prometheus"
	module := filepath.Join(b.module, "tools", "prometheus")
	version, err := b.moduleVersion(ctx, module, name)
	if err != nil {
		return nil, err
	}
	b.dir = filepath.Join(b.dir, fmt.Sprintf("prometheus-%s-%s-%s-%s", version, runtime.Version(), runtime.GOOS, runtime.GOARCH))
	p := &Prometheus{}
	targets := []target{
		{name: "promtool", module: module, pkg: name + "/cmd/promtool", flags: "-s -w", tags: prometheusTags, hint: "2 minutes", path: &p.Tool},
		{name: "prometheus", module: module, pkg: name + "/cmd/prometheus", flags: "-s -w", tags: prometheusTags, path: &p.Server},
	}
	return p, b.ensure(ctx, targets)
}
