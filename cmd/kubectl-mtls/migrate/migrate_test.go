package migrate

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"example.io/mtls-injector/cmd/internal/golden"
	"example.io/mtls-injector/cmd/kubectl-mtls/inject"
	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
	"example.io/mtls-injector/cmd/kubectl-mtls/offline"
	"example.io/mtls-injector/cmd/kubectl-mtls/steps"
)

func execute(cmd func(genericiooptions.IOStreams) *cobra.Command, stdin string, arguments ...string) (stdout, stderr string, err error) {
	var out, errOut bytes.Buffer
	c := cmd(genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &out, ErrOut: &errOut})
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetOut(&out)
	c.SetErr(&errOut)
	c.SetArgs(append([]string{}, arguments...))
	err = c.Execute()
	return out.String(), errOut.String(), err
}

func run(stdin string, arguments ...string) (stdout, stderr string, err error) {
	return execute(NewCommand, stdin, arguments...)
}

func TestMigrate(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	require.NoError(t, err)
	for _, file := range files {
		if strings.Contains(file, ".golden.") {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			difference, stderr, err := run("", "-f", file)
			if strings.Contains(file, "cannot") {
				var exit *steps.ExitError
				require.ErrorAs(t, err, &exit)
				assert.Equal(t, steps.ExitNo, exit.Code)
			} else {
				require.NoError(t, err, stderr)
			}
			base := strings.TrimSuffix(file, ".yaml")
			golden.Check(t, base+".golden.diff", difference)
			golden.Check(t, base+".golden.txt", stderr)

			asYAML, _, _ := run("", "-f", file, "-o", "yaml")
			golden.Check(t, base+".golden.yaml", asYAML)
			again, stderr, err := run(asYAML, "-f", "-", "-o", "yaml")
			if err == nil {
				assert.Equal(t, asYAML, again, "the second time nothing is left to do")
				assert.NotContains(t, stderr, "migrated")
			}
		})
	}
}

// mounts are the files' folders of every container of a manifest, of volumes that hold a key.
func mounts(t *testing.T, text string, isKey func(*corev1.Volume) bool) map[string][]string {
	t.Helper()
	docs, errs := manifest.Read("input", []byte(text))
	require.Empty(t, errs)
	found := map[string][]string{}
	for _, f := range offline.Find(docs) {
		raw, err := f.Object.JSON(f.Path...)
		require.NoError(t, err)
		var template corev1.PodTemplateSpec
		require.NoError(t, json.Unmarshal(raw, &template))
		for _, v := range template.Spec.Volumes {
			if !isKey(&v) {
				continue
			}
			for _, c := range append(template.Spec.InitContainers, template.Spec.Containers...) {
				for _, m := range c.VolumeMounts {
					if m.Name == v.Name {
						found[f.Object.String()+" "+c.Name] = append(found[f.Object.String()+" "+c.Name], m.MountPath)
					}
				}
			}
		}
	}
	return found
}

// TestRoundTrip: what was migrated is injected to files where the program expects them.
func TestRoundTrip(t *testing.T) {
	for _, name := range []string{"server", "csi", "both", "projected"} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile("testdata/" + name + ".yaml")
			require.NoError(t, err)
			migrated, stderr, err := run(string(text), "-f", "-", "-o", "yaml")
			require.NoError(t, err, stderr)
			injected, stderr, err := execute(func(s genericiooptions.IOStreams) *cobra.Command { return inject.NewCommand("v1", s) }, migrated, "-f", "-")
			require.NoError(t, err, stderr)
			byHand := mounts(t, string(text), func(v *corev1.Volume) bool { return v.CSI != nil || v.Secret != nil || v.Projected != nil })
			assert.NotEmpty(t, byHand)
			assert.Equal(t, byHand, mounts(t, injected, func(v *corev1.Volume) bool { return v.Name == "mtls-certs" }))
			assert.Empty(t, mounts(t, migrated, func(v *corev1.Volume) bool { return v.CSI != nil || v.Secret != nil || v.Projected != nil }))
		})
	}
}

const certificateText = "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: a}\nspec: {secretName: a-tls, issuerRef: {name: mtls-ca, kind: ClusterIssuer}, usages: [client auth], privateKey: {algorithm: ECDSA, size: 256}%s}\n---\n"

const podText = "apiVersion: v1\nkind: Pod\nmetadata: {name: a%s}\nspec:\n  containers: [{name: a, image: a, volumeMounts: [{name: v, mountPath: /certs}]%s}]\n  volumes: [{name: v, %s}]\n"

// migrateOne migrates a pod with one volume, and returns what was told of it.
func migrateOne(t *testing.T, ofCertificate, ofPod, ofContainer, volume string) (stdout, stderr string, err error) {
	t.Helper()
	text := strings.Replace(certificateText, "%s", ofCertificate, 1) + strings.Replace(strings.Replace(strings.Replace(podText, "%s", ofPod, 1), "%s", ofContainer, 1), "%s", volume, 1)
	return run(text, "-f", "-")
}

// TestWhatStandsInTheWay has one thing each that no annotation says.
func TestWhatStandsInTheWay(t *testing.T) {
	const secret = "secret: {secretName: a-tls}"
	csi := func(attributes string) string {
		return "csi: {driver: csi.cert-manager.io, readOnly: true, volumeAttributes: {csi.cert-manager.io/issuer-name: mtls-ca, csi.cert-manager.io/issuer-kind: ClusterIssuer, csi.cert-manager.io/key-usages: client auth, " + attributes + "}}"
	}
	for name, c := range map[string]struct{ certificate, pod, container, volume, want string }{
		"authority":   {certificate: ", isCA: true", volume: secret, want: `Certificate "a": isCA, which no annotation says`},
		"addresses":   {certificate: ", ipAddresses: [10.0.0.1]", volume: secret, want: `Certificate "a": ipAddresses, which no annotation says`},
		"e-mail":      {certificate: ", emailAddresses: [a@example.com]", volume: secret, want: `Certificate "a": emailAddresses, which no annotation says`},
		"literal":     {certificate: ", literalSubject: CN=a", volume: secret, want: `Certificate "a": literalSubject, which no annotation says`},
		"formats":     {certificate: ", additionalOutputFormats: [{type: CombinedPEM}]", volume: secret, want: `Certificate "a": additionalOutputFormats, which no annotation says`},
		"country":     {certificate: ", subject: {countries: [NL]}", volume: secret, want: `Certificate "a": subject, which no annotation says`},
		"another URI": {certificate: ", uris: ['spiffe://cluster.local/ns/x/sa/y']", volume: secret, want: `Certificate "a": URI spiffe://cluster.local/ns/x/sa/y is not the pod's SPIFFE ID spiffe://cluster.local/ns/default/sa/default, and no annotation says another`},
		"a name":      {certificate: ", dnsNames: [b.elsewhere.svc]", volume: secret, want: `metadata.annotations[mtls.example.io/dns-names]: Invalid value: "b.elsewhere.svc": the pod may not claim "b.elsewhere.svc"`},
		"granted":     {certificate: ", subject: {organizations: [Corp]}", volume: secret, want: `metadata.annotations[mtls.example.io/organizations]: Invalid value: "Corp": "Corp" is not granted`},
		"file name":   {volume: csi("csi.cert-manager.io/certificate-file: a.pem"), want: `volume "v": attribute certificate-file: the program reads a.pem where the injector writes tls.crt: let it read that, and take the attribute out`},
		"keystore":    {volume: csi("csi.cert-manager.io/pkcs12-enable: 'true'"), want: `volume "v": attribute pkcs12-enable, which no annotation says`},
		"foreign":     {volume: csi("venafi.cert-manager.io/custom-fields: x"), want: `volume "v": attribute venafi.cert-manager.io/custom-fields, which no annotation says`},
		"a time":      {volume: csi("csi.cert-manager.io/duration: 30d"), want: `volume "v": attribute duration: time: unknown unit "d" in duration "30d"`},
		"a size":      {volume: csi("csi.cert-manager.io/key-size: big"), want: `volume "v": attribute key-size: strconv.Atoi: parsing "big": invalid syntax`},
		"role none":   {pod: ", annotations: {mtls.example.io/role: none}", volume: secret, want: `it would be left alone: the annotation mtls.example.io/role is "none"`},
		"item":        {volume: "secret: {secretName: a-tls, items: [{key: tls.crt, path: a.pem}]}", want: `volume "v" gives tls.crt the name a.pem: let the program read tls.crt, and take the item out`},
		"bundle's file": {volume: "projected: {sources: [{secret: {name: a-tls}}, {configMap: {name: mtls-ca-bundle, items: [{key: ca.crt, path: roots.pem}]}}]}",
			want: `volume "v" gives the bundle the name roots.pem: let the program read ca.crt, and change the item`},
		"bundle's key": {volume: "projected: {sources: [{secret: {name: a-tls}}, {configMap: {name: mtls-ca-bundle, items: [{key: roots, path: ca.crt}]}}]}",
			want: `ConfigMap "mtls-ca-bundle" has the bundle under roots, and the configuration says ca.crt (caBundle.key)`},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := migrateOne(t, c.certificate, c.pod, c.container, c.volume)
			require.EqualError(t, err, "1 of 1 could not be migrated")
			assert.Contains(t, stderr, "  in the way: "+c.want)
			assert.Empty(t, stdout, "it stays as it is")
		})
	}
}

// TestCarriedOver has one thing each that an annotation says.
func TestCarriedOver(t *testing.T) {
	const secret = "secret: {secretName: a-tls}"
	for name, c := range map[string]struct{ certificate, pod, container, want string }{
		"duration":    {certificate: ", duration: 24h, renewBefore: 8h", want: "mtls.example.io/renew-before: \"8h\""},
		"common name": {certificate: ", dnsNames: [a], commonName: a", want: "mtls.example.io/common-name: \"a\""},
		"own name":    {certificate: ", dnsNames: [a]", want: "mtls.example.io/dns-names: \"a\""},
		"kept annotation": {pod: ", annotations: {mtls.example.io/mount-path: /mine}",
			want: `in the way: container "a" would not have its key pair at /certs`},
		"hook":       {container: ", lifecycle: {preStop: {exec: {command: [sleep, '5']}}}", want: "mtls.example.io/pre-stop-seconds: \"5\""},
		"other hook": {container: ", lifecycle: {preStop: {exec: {command: [/drain]}}}", want: "note: the preStop hooks stay as they are: not all containers sleep, and equally long"},
		"template":   {certificate: ", secretTemplate: {labels: {a: b}}", want: "note: Certificate \"a\": secretTemplate: labels and annotations of the Secret are not carried over"},
		"profile": {container: ", env: [{name: PGSSLMODE, value: verify-full}, {name: PGSSLROOTCERT, value: /certs/ca.crt}, {name: PGSSLCERT, value: /certs/tls.crt}, {name: PGSSLKEY, value: /certs/tls.key}]",
			want: "mtls.example.io/env: \"mtls,postgres\""},
	} {
		t.Run(name, func(t *testing.T) {
			_, stderr, err := migrateOne(t, c.certificate, c.pod, c.container, secret)
			if !strings.HasPrefix(c.want, "in the way") {
				require.NoError(t, err, stderr)
			}
			assert.Contains(t, stderr, "  "+c.want+"\n")
		})
	}
}

func TestFlags(t *testing.T) {
	for name, c := range map[string]struct {
		stdin     string
		arguments []string
		want      string
	}{
		"no file":       {arguments: nil, want: "must specify what to migrate with -f"},
		"argument":      {arguments: []string{"a"}, want: `unknown command "a" for "migrate"`},
		"output":        {arguments: []string{"-f", "-", "-o", "json"}, want: `--output "json": must be diff or yaml`},
		"namespace":     {arguments: []string{"-f", "-", "-n", "No"}, want: `--namespace "No": must be the name of a namespace`},
		"annotation":    {arguments: []string{"-f", "-", "--namespace-annotations", "x"}, want: `--namespace-annotations "x": must be KEY=VALUE`},
		"configuration": {arguments: []string{"-f", "-", "--config", "gone.yaml"}, want: "configuration: open gone.yaml: no such file or directory"},
		"syntax":        {stdin: "a: [\n", arguments: []string{"-f", "-"}, want: "the input is wrong, so nothing was printed"},
		"a Certificate": {stdin: "apiVersion: cert-manager.io/v1\nkind: Certificate\nspec: 1\n", arguments: []string{"-f", "-"}, want: "the input is wrong, so nothing was printed"},
		"a pod":         {stdin: "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: 1}]}\n", arguments: []string{"-f", "-"}, want: "the input is wrong, so nothing was printed"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, _, err := run(c.stdin, c.arguments...)
			require.EqualError(t, err, c.want)
			assert.Empty(t, stdout)
		})
	}
	stdout, stderr, err := run("a: 1\n", "-f", "-", "-o", "yaml")
	require.NoError(t, err)
	assert.Equal(t, "a: 1\n", stdout)
	assert.Equal(t, "nothing was found that is done by hand: no volume of a Certificate's Secret, none of the CSI driver\n", stderr)
	stdout, _, err = run("", cobra.ShellCompNoDescRequestCmd, "--output", "")
	require.NoError(t, err)
	assert.Equal(t, "diff\nyaml\n:4\n", stdout)
}
