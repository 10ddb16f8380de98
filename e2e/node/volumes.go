package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"example.io/mtls-injector/e2e/internal/atomicdir"
)

// defaultMode is that of files in volumes which name none (all of them, by the API
// server's defaults, do).
const defaultMode int32 = 0o644

// filesOf collects the files of a volume.
type filesOf map[string]atomicdir.File

func (f filesOf) add(name string, data []byte, mode *int32, fallback int32) {
	if mode == nil {
		mode = &fallback
	}
	f[name] = atomicdir.File{Data: data, Mode: os.FileMode(*mode).Perm()} //nolint:gosec // the API server allows 0 to 0777
}

// addItems adds what the items choose, or everything when there are none.
func (f filesOf) addItems(data map[string][]byte, items []corev1.KeyToPath, mode int32, optional bool) error {
	if items == nil {
		for key := range data {
			items = append(items, corev1.KeyToPath{Key: key, Path: key})
		}
	}
	for _, item := range items {
		content, ok := data[item.Key]
		if !ok {
			if optional {
				continue
			}
			return fmt.Errorf("there is no key %s", item.Key)
		}
		f.add(item.Path, content, item.Mode, mode)
	}
	return nil
}

// publish makes the volume's folder and returns it.
func (n *Node) publish(ctx context.Context, pod *corev1.Pod, volume *corev1.Volume) (string, error) {
	dir := n.volumeDir(pod, volume.Name)
	files := filesOf{}
	var err error
	switch {
	case volume.CSI != nil:
		return n.Driver.Publish(ctx, pod, volume.Name)
	case volume.EmptyDir != nil:
		return dir, os.MkdirAll(dir, 0o777) //nolint:gosec // as the kubelet does
	case volume.Secret != nil:
		s := volume.Secret
		err = n.secret(ctx, files, pod.Namespace, s.SecretName, s.Items, modeOr(s.DefaultMode), isTrue(s.Optional))
	case volume.ConfigMap != nil:
		s := volume.ConfigMap
		err = n.configMap(ctx, files, pod.Namespace, s.Name, s.Items, modeOr(s.DefaultMode), isTrue(s.Optional))
	case volume.DownwardAPI != nil:
		err = downward(files, pod, volume.DownwardAPI.Items, modeOr(volume.DownwardAPI.DefaultMode))
	case volume.Projected != nil:
		for i := range volume.Projected.Sources {
			if err = n.project(ctx, files, pod, &volume.Projected.Sources[i], modeOr(volume.Projected.DefaultMode)); err != nil {
				break
			}
		}
	default:
		err = errors.New("this kind of volume is not supported here")
	}
	if err != nil {
		return "", err
	}
	opts := atomicdir.Options{Mode: 0o755}
	if sc := pod.Spec.SecurityContext; sc != nil && sc.FSGroup != nil {
		opts.GID = *sc.FSGroup
		// The kubelet lets the group read, whatever the modes say.
		for name, file := range files {
			file.Mode |= 0o440
			files[name] = file
		}
	}
	return dir, atomicdir.Write(dir, files, opts)
}

// project adds one source of a projected volume.
func (n *Node) project(ctx context.Context, files filesOf, pod *corev1.Pod, source *corev1.VolumeProjection, mode int32) error {
	switch {
	case source.Secret != nil:
		return n.secret(ctx, files, pod.Namespace, source.Secret.Name, source.Secret.Items, mode, isTrue(source.Secret.Optional))
	case source.ConfigMap != nil:
		return n.configMap(ctx, files, pod.Namespace, source.ConfigMap.Name, source.ConfigMap.Items, mode, isTrue(source.ConfigMap.Optional))
	case source.DownwardAPI != nil:
		return downward(files, pod, source.DownwardAPI.Items, mode)
	case source.ServiceAccountToken != nil:
		return n.token(ctx, files, pod, source.ServiceAccountToken, mode)
	case source.ClusterTrustBundle != nil:
		return n.trustBundle(ctx, files, source.ClusterTrustBundle, mode)
	default:
		return errors.New("this source of a projected volume is not supported here")
	}
}

func (n *Node) secret(ctx context.Context, files filesOf, namespace, name string, items []corev1.KeyToPath, mode int32, optional bool) error {
	var secret corev1.Secret
	err := n.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &secret)
	if err == nil {
		err = files.addItems(secret.Data, items, mode, optional)
	}
	return absent("Secret "+name, err, optional)
}

func (n *Node) configMap(ctx context.Context, files filesOf, namespace, name string, items []corev1.KeyToPath, mode int32, optional bool) error {
	var cm corev1.ConfigMap
	err := n.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &cm)
	if err == nil {
		data := maps.Clone(cm.BinaryData)
		if data == nil {
			data = map[string][]byte{}
		}
		for key, value := range cm.Data {
			data[key] = []byte(value)
		}
		err = files.addItems(data, items, mode, optional)
	}
	return absent("ConfigMap "+name, err, optional)
}

// absent names the object in an error, and forgives its absence if it is optional.
func absent(name string, err error, optional bool) error {
	if err == nil || (optional && apierrors.IsNotFound(err)) {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

// downward adds what the pod says of itself.
func downward(files filesOf, pod *corev1.Pod, items []corev1.DownwardAPIVolumeFile, mode int32) error {
	for _, item := range items {
		if item.FieldRef == nil {
			return fmt.Errorf("%s: only fieldRef is supported here", item.Path)
		}
		value, err := fieldValue(pod, item.FieldRef.FieldPath)
		if err != nil {
			return err
		}
		files.add(item.Path, []byte(value), item.Mode, mode)
	}
	return nil
}

// token asks for a service account token, bound to the pod.
func (n *Node) token(ctx context.Context, files filesOf, pod *corev1.Pod, source *corev1.ServiceAccountTokenProjection, mode int32) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Spec.ServiceAccountName}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: source.ExpirationSeconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if source.Audience != "" {
		request.Spec.Audiences = []string{source.Audience}
	}
	if err := n.Client.SubResource("token").Create(ctx, account, request); err != nil {
		return fmt.Errorf("requesting a token of service account %s: %w", account.Name, err)
	}
	files.add(source.Path, []byte(request.Status.Token), nil, mode)
	return nil
}

// trustBundle adds the bundle of that name, or all of the signer that match.
func (n *Node) trustBundle(ctx context.Context, files filesOf, source *corev1.ClusterTrustBundleProjection, mode int32) error {
	var list certificatesv1beta1.ClusterTrustBundleList
	if err := n.Client.List(ctx, &list); err != nil {
		return fmt.Errorf("listing ClusterTrustBundles: %w", err)
	}
	selector, err := metav1.LabelSelectorAsSelector(source.LabelSelector)
	if err != nil {
		return fmt.Errorf("reading the label selector: %w", err)
	}
	var pems []string
	for _, bundle := range list.Items {
		byName := source.Name != nil && *source.Name == bundle.Name
		bySigner := source.SignerName != nil && *source.SignerName == bundle.Spec.SignerName && selector.Matches(labels.Set(bundle.Labels))
		if byName || bySigner {
			pems = append(pems, strings.TrimSpace(bundle.Spec.TrustBundle)+"\n")
		}
	}
	if len(pems) == 0 && !isTrue(source.Optional) {
		return errors.New("no ClusterTrustBundle matches")
	}
	slices.Sort(pems)
	files.add(path.Clean(source.Path), []byte(strings.Join(slices.Compact(pems), "")), nil, mode)
	return nil
}

func isTrue(b *bool) bool { return b != nil && *b }

func modeOr(mode *int32) int32 {
	if mode == nil {
		return defaultMode
	}
	return *mode
}
