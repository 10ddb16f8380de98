// Package intent decides who a pod is and what it gets.
//
// It is the pure heart of the house: annotations of a pod and its namespace, the
// Services that select the pod and the configuration's defaults go in, and one typed
// [Intent] comes out, or a reason to leave the pod alone, or every problem at once.
// There is no client, no clock and no I/O here, so the webhook, the companion
// controller, the command line and the tests cannot disagree.
//
// Read keys.go for the annotation table, resolve.go for the order of things and
// identity.go for the rules about names.
package intent
