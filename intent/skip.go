package intent

// SkipReason says why a pod is left as it is. Metrics, audit annotations, logs and the
// command line all use these words.
type SkipReason string

// The reasons, with their meaning in [SkipReasons].
const (
	SkipNoRole    SkipReason = "no-role"
	SkipRoleNone  SkipReason = "role-none"
	SkipWindows   SkipReason = "windows"
	SkipMirrorPod SkipReason = "mirror-pod"
)

// SkipReasons returns every reason with a sentence for people.
func SkipReasons() map[SkipReason]string {
	return map[SkipReason]string{
		SkipNoRole:    "neither the pod nor its namespace has the annotation " + Prefix + "role",
		SkipRoleNone:  "the annotation " + Prefix + "role is \"none\"",
		SkipWindows:   "pods on Windows nodes are not served: the cert-manager CSI driver runs on Linux only",
		SkipMirrorPod: "mirror pods show what a kubelet already runs and cannot be changed",
	}
}

// Explain returns the sentence for people.
func (r SkipReason) Explain() string { return SkipReasons()[r] }
