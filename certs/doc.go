// Package certs writes companion Certificates: one per workload that has injected pods,
// the identity of record that people, alerts and gateways see, and whose Secret serves
// `delivery: secret`.
//
// desired.go says what a companion looks like (pure). The rest is a controller:
// pods.go picks the pod that decides, owner.go finds the workload that owns the
// companion and verifies that it does, apply.go compares and writes, reconcile.go puts
// these in order, controller.go says what sets them going. Nothing here trusts what
// admission wrote into the pod: the intent is resolved again.
//
// A companion is reconciled by its own name, which [intent.CompanionName] gives, so all
// pods of a workload meet in one place. It is written by server-side apply, and not at
// all when it is as it should be. A Certificate that somebody else made is never touched.
//
// # Rights
//
// The controller needs these, in all namespaces that it serves:
//
//	group             resource                        verbs
//	""                pods, services, namespaces      get, list, watch
//	apps              deployments, replicasets,       get
//	                  statefulsets, daemonsets
//	batch             jobs, cronjobs                  get
//	""                replicationcontrollers          get
//	cert-manager.io   certificates                    get, list, watch, create, patch
//	events.k8s.io     events                          create, patch
//
// Owners of other kinds (custom resources that make pods) are verified where the
// controller may get them, and believed where it may not. It needs no rights on Secrets.
// In markers:
//
//	+kubebuilder:rbac:groups="",resources=pods;services;namespaces,verbs=get;list;watch
//	+kubebuilder:rbac:groups="",resources=replicationcontrollers,verbs=get
//	+kubebuilder:rbac:groups=apps,resources=deployments;replicasets;statefulsets;daemonsets,verbs=get
//	+kubebuilder:rbac:groups=batch,resources=jobs;cronjobs,verbs=get
//	+kubebuilder:rbac:groups=cert-manager.io,resources=certificates,verbs=get;list;watch;create;patch
//	+kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
package certs
