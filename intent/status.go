package intent

// LabelInjected marks the pods that were injected; the companion controller watches them.
const LabelInjected = Prefix + "injected"

// AnnotationStatus holds the compact JSON of what was resolved and injected. It informs
// people; nothing is ever decided by it.
const AnnotationStatus = Prefix + "status"
