package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/demo/authority"
)

// refusedFile is the example that the API server must refuse.
const refusedFile = "30-refused.yaml"

// apply applies the examples in the order of their names, and does what their comments
// ask of the user.
func (d *Demo) apply(ctx context.Context) error {
	files, err := filepath.Glob(filepath.Join(d.examples, "[0-9]*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("there are no examples in %s: %w", d.examples, err)
	}
	for _, path := range files {
		manifest, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("reading an example: %w", err)
		}
		name := filepath.Base(path)
		said, err := d.applyFile(ctx, name, manifest)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		d.out.file(name, said)
	}
	return nil
}

// applyFile applies one example and returns what to say about it.
func (d *Demo) applyFile(ctx context.Context, name string, manifest []byte) (string, error) {
	switch name {
	case refusedFile:
		return d.applyRefused(ctx, name, manifest)
	case "03-trust-bundle.yaml":
		return d.distributeTrust(ctx, manifest)
	case "01-ca-existing-key-pair.yaml":
		if err := d.giveCA(ctx); err != nil {
			return "", err
		}
	}
	objects, err := d.cluster.Apply(ctx, manifest, "")
	if err != nil {
		return "", err
	}
	return describe(objects), d.await(ctx, objects)
}

// describe names the objects, grouped by name where they have the same.
func describe(objects []*unstructured.Unstructured) string {
	var names []string
	kinds := map[string][]string{}
	for _, obj := range objects {
		name := obj.GetName()
		if kinds[name] == nil {
			names = append(names, name)
		}
		kinds[name] = append(kinds[name], obj.GetKind())
	}
	var parts []string
	for _, name := range names {
		parts = append(parts, name+": "+strings.Join(kinds[name], ", "))
	}
	return strings.Join(parts, "; ")
}

// await waits until what the following examples build upon is there.
func (d *Demo) await(ctx context.Context, objects []*unstructured.Unstructured) error {
	for _, obj := range objects {
		var err error
		switch obj.GetKind() {
		case "Namespace":
			account := client.ObjectKey{Namespace: obj.GetName(), Name: "default"}
			err = d.cluster.WaitFor(ctx, "service account "+account.String(), func(ctx context.Context) error {
				return d.cluster.Client.Get(ctx, account, &corev1.ServiceAccount{})
			})
		case "Certificate":
			_, err = d.cluster.WaitForCertificate(ctx, obj.GetNamespace(), obj.GetName())
		case "Issuer", "ClusterIssuer":
			err = d.cluster.WaitForIssuer(ctx, obj.GetNamespace(), obj.GetName())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// giveCA puts a CA's key pair where the example expects the user's.
func (d *Demo) giveCA(ctx context.Context) error {
	ca, err := authority.New("Example mTLS CA")
	if err != nil {
		return err
	}
	err = d.cluster.Client.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: trustNamespace, Name: "mtls-ca"},
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{corev1.TLSCertKey: ca.CA.Cert, corev1.TLSPrivateKeyKey: ca.CA.Key},
	})
	if err != nil {
		return fmt.Errorf("storing the CA's key pair: %w", err)
	}
	d.out.file("(in your place)", "a CA's key pair is made and put into the Secret cert-manager/mtls-ca")
	return nil
}

// distributeTrust copies the other CA's certificate to where trust-manager reads, as
// the example tells the user, and does trust-manager's work.
func (d *Demo) distributeTrust(ctx context.Context, manifest []byte) (string, error) {
	var secret corev1.Secret
	if err := d.cluster.Client.Get(ctx, client.ObjectKey{Namespace: "payments", Name: "payments-ca"}, &secret); err != nil {
		return "", fmt.Errorf("reading the CA of payments: %w", err)
	}
	err := d.cluster.Client.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: trustNamespace, Name: "payments-ca"},
		Data:       map[string]string{"ca.crt": string(secret.Data[corev1.TLSCertKey])},
	})
	if err != nil {
		return "", fmt.Errorf("copying the CA of payments: %w", err)
	}
	namespaces, err := applyBundle(ctx, d.cluster.Client, manifest)
	if err != nil {
		return "", err
	}
	return "ConfigMap mtls-ca-bundle in " + strings.Join(namespaces, " and ") +
		" (by this demo in trust-manager's place, which does not run here)", nil
}

// applyRefused lets kubectl apply the example, and compares what it says with what the
// example's comment says it would.
func (d *Demo) applyRefused(ctx context.Context, name string, manifest []byte) (string, error) {
	args := []string{"--kubeconfig", d.cluster.Kubeconfig, "apply", "-f", filepath.Join(d.examples, name)}
	kubectl := exec.CommandContext(ctx, d.cluster.Kubectl, args...) //nolint:gosec // as the user would
	out, err := kubectl.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return "", fmt.Errorf("running kubectl: %w", err)
	}
	if err == nil {
		return "", fmt.Errorf("it was accepted, but should be refused; kubectl says: %s", out)
	}
	d.refusal = strings.TrimSpace(string(out))
	want := quoted(manifest)
	if got := strings.Join(strings.Fields(d.refusal), " "); got != want {
		return "", fmt.Errorf("kubectl says\n%s\nbut should say\n%s", got, want)
	}
	return "refused, as it should be", nil
}

// quoted returns what a comment quotes, that is its lines with a deep indentation, as
// one line.
func quoted(manifest []byte) string {
	var words []string
	for line := range strings.Lines(string(manifest)) {
		if text, ok := strings.CutPrefix(line, "#   "); ok {
			words = append(words, strings.Fields(text)...)
		}
	}
	return strings.Join(words, " ")
}
