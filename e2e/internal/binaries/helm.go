package binaries

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
)

// EnsureHelm returns the path of the Helm command line, built once per version into the
// user's cache folder.
func EnsureHelm(ctx context.Context, progress Progress) (string, error) {
	b, err := newBuilder(ctx, progress)
	if err != nil {
		return "", err
	}
	const name = "helm.sh/helm/v4"
	module := filepath.Join(b.module, "tools", "helm")
	version, err := b.moduleVersion(ctx, module, name)
	if err != nil {
		return "", err
	}
	b.dir = filepath.Join(b.dir, fmt.Sprintf("helm-%s-%s-%s-%s", version, runtime.Version(), runtime.GOOS, runtime.GOARCH))
	// Charts and the labels of releases tell Helm's version, which a plain build does not know.
	flags := "-s -w -X " + name + "/internal/version.version=" + version
	var path string
	err = b.ensure(ctx, []target{{name: "helm", module: module, pkg: name + "/cmd/helm", flags: flags, hint: "2 minutes", path: &path}})
	return path, err
}
