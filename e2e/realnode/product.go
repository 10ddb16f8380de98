package realnode

// The product on the node: its image, packed as a release is, and its chart, installed as the
// README says.

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"

	"example.io/mtls-injector/e2e/helm"
	"example.io/mtls-injector/e2e/internal/binaries"
)

// The release as the README installs it, of the image that is packed from the working tree.
const (
	Release          = "mtls-injector"
	ReleaseNamespace = "mtls-injector"
	// Image is the product's, with the programs /mtls-injector and /mtls-agent.
	Image = imageRepository + ":" + imageTag

	imageRepository = "example.io/mtls-injector"
	imageTag        = "dev"
)

// packProduct packs the image into the node's folder, without an engine.
func packProduct(ctx context.Context, work string, progress func(string)) error {
	progress("packing the image " + Image)
	root, err := binaries.ModuleDir(ctx, "example.io/mtls-injector")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "run", ".", "archive", "--root", root, "--out", work, "--version", imageTag, "--image", Image, "--arch", runtime.GOARCH) //nolint:gosec // a program of ours
	cmd.Dir, cmd.Env = filepath.Join(root, "e2e", "tools", "image"), append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("packing the image: %w\n%s", err, bytes.TrimSpace(out))
	}
	return nil
}

func (n *Node) productArchive() string {
	return filepath.Join(n.work, "image", "mtls-injector-"+imageTag+"-linux-"+runtime.GOARCH+".tar")
}

// prepareRelease imports the image and makes a Helm.
func (n *Node) prepareRelease(ctx context.Context, _ Options) error {
	root, err := binaries.ModuleDir(ctx, "example.io/mtls-injector")
	if err != nil {
		return err
	}
	n.Chart = filepath.Join(root, "charts", "mtls-injector")
	if n.Helm, err = helm.New(ctx, n.Kubeconfig, filepath.Join(n.work, "helm"), n.progress); err != nil {
		return err
	}
	return n.Import(ctx, n.productArchive())
}

// InstallChart installs the chart, or upgrades what is installed, with further arguments, and
// waits until its pods are ready.
func (n *Node) InstallChart(ctx context.Context, args ...string) error {
	n.progress("installing the chart")
	base := []string{
		"upgrade", "--install", Release, n.Chart, "--namespace", ReleaseNamespace, "--create-namespace", "--wait", "--timeout", "4m",
		"--set", "image.repository=" + imageRepository, "--set", "image.tag=" + imageTag, "--set", "image.pullPolicy=Never",
	}
	if _, err := n.Helm.Run(ctx, slices.Concat(base, args)...); err != nil {
		return fmt.Errorf("%w\n%s", err, n.Describe(context.WithoutCancel(ctx), ReleaseNamespace))
	}
	return nil
}
