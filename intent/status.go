package intent

// LabelInjected marks the pods that were injected; the companion controller watches them.
const LabelInjected = Prefix + "injected"

// AnnotationStatus holds the compact JSON of what was resolved and injected. It informs
// people; nothing is ever decided by it.
const AnnotationStatus = Prefix + "status"

// AnnotationCertificateHash stands on the pod template of a workload with
// [ReloadRestart]: a change of it is what makes the platform roll out the workload anew.
// On a pod it says for which certificate the pod was made; it gives no name to anybody.
const AnnotationCertificateHash = Prefix + "certificate-hash"
