package release_test

import "testing"

// TestOwnCA brings a CA as the how-to page says.
func TestOwnCA(t *testing.T) {
	t.Cleanup(func() { cleanUp(t) })
	run := pageOf(t, "docs/how-to/own-ca.md")
	for _, name := range []string{"make", "install", "look"} {
		run(name)
	}
}

// TestGitOps runs what a pipeline runs. It needs no release.
func TestGitOps(t *testing.T) {
	run := pageOf(t, "docs/how-to/gitops.md")
	run("pipeline")
	run("render")
}
