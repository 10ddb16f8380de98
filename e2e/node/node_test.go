package node

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/e2e/cluster"
)

// newNode returns a node whose API server has the objects.
func newNode(t *testing.T, objects ...client.Object) *Node {
	t.Helper()
	c := fake.NewClientBuilder().WithScheme(cluster.NewScheme()).WithObjects(objects...).Build()
	return &Node{Client: c, Root: t.TempDir()}
}

// parsePod makes a pod of a YAML spec.
func parsePod(t *testing.T, spec string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "web-0", UID: "11-22",
		Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"note": "hi"},
	}}
	require.NoError(t, yaml.UnmarshalStrict([]byte(spec), &pod.Spec))
	return pod
}

func secret(data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "keys"}, Data: data}
}

func configMap(data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "conf"}, Data: data}
}

func bundle(name, signer, content string) *certificatesv1beta1.ClusterTrustBundle {
	return &certificatesv1beta1.ClusterTrustBundle{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kind": "ca"}},
		Spec:       certificatesv1beta1.ClusterTrustBundleSpec{SignerName: signer, TrustBundle: content},
	}
}

const mountSpec = `
serviceAccountName: web
securityContext: {fsGroup: 2000}
initContainers:
- {name: init, volumeMounts: [{name: keys, mountPath: /init}]}
containers:
- name: web
  env: [{name: PART, value: part}]
  volumeMounts:
  - {name: all, mountPath: /etc/tls/ca}
  - {name: keys, mountPath: /etc/tls/server}
  - {name: conf, mountPath: /etc/app.conf, subPath: app.conf}
  - {name: conf, mountPath: /etc/expanded.conf, subPathExpr: $(PART).conf}
  - {name: scratch, mountPath: /tmp}
  - {name: self, mountPath: /self}
volumes:
- {name: keys, secret: {secretName: keys, defaultMode: 0400}}
- {name: conf, configMap: {name: conf}}
- {name: scratch, emptyDir: {}}
- {name: self, downwardAPI: {items: [{path: labels/app, fieldRef: {fieldPath: "metadata.labels['app']"}}]}}
- name: all
  projected:
    sources:
    - secret: {name: keys, items: [{key: tls.key, path: pair/tls.key, mode: 0400}]}
    - configMap: {name: missing, optional: true}
    - clusterTrustBundle: {name: one, path: ca.crt}
    - clusterTrustBundle: {signerName: example.io/ca, labelSelector: {matchLabels: {kind: ca}}, path: all.crt}
`

func TestMount(t *testing.T) {
	conf := configMap(map[string]string{"app.conf": "v1", "part.conf": "p"})
	n := newNode(t, secret(map[string][]byte{"tls.key": []byte("k")}), conf,
		bundle("one", "", "A"), bundle("two", "example.io/ca", "C\n"), bundle("three", "example.io/ca", "B"))
	pod := parsePod(t, mountSpec)
	root, err := n.Mount(t.Context(), pod, "web")
	require.NoError(t, err)
	for path, want := range map[string]string{
		"/etc/tls/server/tls.key":  "k",
		"/etc/tls/ca/ca.crt":       "A\n",
		"/etc/tls/ca/all.crt":      "B\nC\n",
		"/etc/tls/ca/pair/tls.key": "k",
		"/etc/app.conf":            "v1",
		"/etc/expanded.conf":       "p",
		"/self/labels/app":         "web",
	} {
		data, err := os.ReadFile(Path(root, path))
		require.NoError(t, err)
		assert.Equal(t, want, string(data), path)
	}
	info, err := os.Stat(Path(root, "/etc/tls/server/tls.key"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o440), info.Mode(), "fsGroup lets the group read")
	info, err = os.Stat(Path(root, "/tmp"))
	require.NoError(t, err)
	assert.True(t, info.IsDir())

	init, err := n.Mount(t.Context(), pod, "init")
	require.NoError(t, err)
	assert.FileExists(t, Path(init, "/init/tls.key"))
	_, err = n.Mount(t.Context(), pod, "web")
	require.NoError(t, err, "a container that starts again")

	require.NoError(t, n.Unmount(pod))
	assert.NoDirExists(t, filepath.Dir(filepath.Dir(root)))
}

func TestSyncUpdatesVolumesButNotSubPaths(t *testing.T) {
	conf, keys := configMap(map[string]string{"app.conf": "v1", "part.conf": "p"}), secret(map[string][]byte{"tls.key": []byte("k")})
	n := newNode(t, conf, keys, bundle("one", "", "A"), bundle("two", "example.io/ca", "C"))
	pod := parsePod(t, mountSpec)
	root, err := n.Mount(t.Context(), pod, "web")
	require.NoError(t, err)

	conf.Data["app.conf"], keys.Data["tls.key"] = "v2", []byte("new")
	require.NoError(t, n.Client.Update(t.Context(), conf))
	require.NoError(t, n.Client.Update(t.Context(), keys))
	require.NoError(t, n.Sync(t.Context()))
	key, err := os.ReadFile(Path(root, "/etc/tls/server/tls.key"))
	require.NoError(t, err)
	assert.Equal(t, "new", string(key))
	app, err := os.ReadFile(Path(root, "/etc/app.conf"))
	require.NoError(t, err)
	assert.Equal(t, "v1", string(app), "a subPath never sees an update")

	require.NoError(t, n.Client.Delete(t.Context(), keys))
	require.ErrorContains(t, n.Sync(t.Context()), "syncing volume keys of pod shop/web-0: Secret keys: ")
}

func TestMountFails(t *testing.T) {
	cases := map[string]struct{ volume, mount, want string }{
		"no such volume":   {"name: x, emptyDir: {}", "name: none, mountPath: /a", "mounting none at /a in container web: the pod has no such volume"},
		"no such Secret":   {"name: x, secret: {secretName: none}", "name: x, mountPath: /a", `Secret none: secrets "none" not found`},
		"no such key":      {"name: x, configMap: {name: conf, items: [{key: none, path: a}]}", "name: x, mountPath: /a", "ConfigMap conf: there is no key none"},
		"no such subPath":  {"name: x, configMap: {name: conf}", "name: x, mountPath: /a, subPath: none", "finding the subPath"},
		"no such bundle":   {"name: x, projected: {sources: [{clusterTrustBundle: {name: none, path: a}}]}", "name: x, mountPath: /a", "no ClusterTrustBundle matches"},
		"within another":   {"name: x, configMap: {name: conf}", "name: x, mountPath: /a}, {name: x, mountPath: /a/b", "/a/b is within another volume, which is read-only"},
		"another kind":     {"name: x, hostPath: {path: /}", "name: x, mountPath: /a", "this kind of volume is not supported here"},
		"no token allowed": {"name: x, projected: {sources: [{serviceAccountToken: {path: a}}]}", "name: x, mountPath: /a", "requesting a token of service account"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, configMap(map[string]string{"a": "b"}))
			pod := parsePod(t, "containers: [{name: web, volumeMounts: [{"+tc.mount+"}]}]\nvolumes: [{"+tc.volume+"}]")
			_, err := n.Mount(t.Context(), pod, "web")
			require.ErrorContains(t, err, tc.want)
		})
	}
	_, err := newNode(t).Mount(t.Context(), parsePod(t, "containers: []"), "web")
	require.ErrorContains(t, err, "pod shop/web-0 has no container web")
}

func unmarshalContainer(spec string, c *corev1.Container) error {
	return yaml.Unmarshal([]byte(spec), c)
}
