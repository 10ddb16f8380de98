// Package webhook answers the API server: it is the room in which requests come in and
// decisions go out.
//
// An AdmissionReview is decoded (decode.go, only the parts that a decision needs), the
// pod's Namespace and Services are looked up (lookup.go, source.go), intent.Admit decides,
// and injector.Patch says what changes (pod.go); the answer is written by response.go.
// Those who write workloads and Namespaces are told what their pods will be told
// (workload.go, namespace.go, and workloads.go for what both have in common).
// Around that stand the metrics (metrics.go) and the server with its readiness and its way
// to stop (server.go), and its certificate (certificate.go, and package servingcert for one
// that makes itself).
//
// Nothing is written to the cluster here: the webhook declares sideEffects None, and a dry
// run is answered as any other request is.
package webhook
