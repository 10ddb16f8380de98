package binaries

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
)

// ApproverPolicy is where cert-manager's approver-policy is.
type ApproverPolicy struct {
	// Program is the path of the program, CRDs of the folder with its CRDs.
	Program, CRDs string
}

// EnsureApproverPolicy returns approver-policy, built once per version into the user's cache
// folder.
func EnsureApproverPolicy(ctx context.Context, progress Progress) (*ApproverPolicy, error) {
	b, err := newBuilder(ctx, progress)
	if err != nil {
		return nil, err
	}
	const name = "github.com/cert-manager/approver-policy"
	module := filepath.Join(b.module, "tools", "approverpolicy")
	version, dir, err := b.moduleFiles(ctx, module, name)
	if err != nil {
		return nil, err
	}
	b.dir = filepath.Join(b.dir, fmt.Sprintf("approver-policy-%s-%s-%s-%s", version, runtime.Version(), runtime.GOOS, runtime.GOARCH))
	a := &ApproverPolicy{CRDs: filepath.Join(dir, "deploy", "crds")}
	targets := []target{{name: "approver-policy", module: module, pkg: name + "/cmd", flags: "-s -w", hint: "5 minutes", path: &a.Program}}
	return a, b.ensure(ctx, targets)
}
