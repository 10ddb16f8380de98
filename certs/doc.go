// Package certs writes companion Certificates: one per workload that has injected pods,
// the identity of record that people, alerts and gateways see, and whose Secret serves
// `delivery: secret`.
//
// desired.go says what a companion looks like (pure). The rest is a controller. Its way
// through one companion is in reconcile.go: pods.go picks the pod that decides, owner.go
// finds and verifies the workload, decide.go resolves, apply.go compares and writes. What follows from a
// companion is in restart.go (with slots.go), issuer.go and events.go; its end in
// cleanup.go, workload.go and sweep.go. journal.go is what is remembered between two looks,
// collector.go and metrics.go are what is counted, controller.go says what sets it all
// going. Nothing here trusts what admission wrote into the pod: the intent is resolved again.
// uninjected.go, with figures.go, counts the pods that admission has not seen and should have.
//
// A companion is reconciled by its own name, which [intent.CompanionName] gives, so all
// pods of a workload meet in one place. It is written by server-side apply, and not at
// all when it is as it should be. A Certificate or Secret that somebody else made is never
// touched.
//
// # Rights
//
// The controller needs these, in all namespaces that it serves:
//
//	group             resource                        verbs
//	""                pods, namespaces                get, list, watch
//	""                services                        list, watch
//	apps              deployments, statefulsets,      get, patch
//	                  daemonsets
//	apps              replicasets                     get
//	batch             jobs, cronjobs                  get
//	""                replicationcontrollers          get
//	cert-manager.io   certificates                    get, list, watch, create, patch, delete
//	cert-manager.io   certificaterequests             get
//	""                secrets                         get, list, delete
//	events.k8s.io     events                          create, patch
//
// and in its own namespace, for leader election, leases (get, create, update) and core Events
// (create). The webhook reads Namespaces, Services and workloads as well, and needs one right
// more to warn where the CA bundle is missing: get of ConfigMaps of that name. Each of these
// has a test that fails without it (e2e, TestRBAC).
//
// Workloads are patched for `reload: restart` only. Of Secrets the metadata is read, never
// the data. Owners of other kinds (custom resources that make pods) are verified where the
// controller may get them, and believed where it may not.
// In markers:
//
//	+kubebuilder:rbac:groups="",resources=pods;namespaces,verbs=get;list;watch
//	+kubebuilder:rbac:groups="",resources=services,verbs=list;watch
//	+kubebuilder:rbac:groups="",resources=replicationcontrollers,verbs=get
//	+kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;delete
//	+kubebuilder:rbac:groups=apps,resources=deployments;statefulsets;daemonsets,verbs=get;patch
//	+kubebuilder:rbac:groups=apps,resources=replicasets,verbs=get
//	+kubebuilder:rbac:groups=batch,resources=jobs;cronjobs,verbs=get
//	+kubebuilder:rbac:groups=cert-manager.io,resources=certificates,verbs=get;list;watch;create;patch;delete
//	+kubebuilder:rbac:groups=cert-manager.io,resources=certificaterequests,verbs=get
//	+kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
package certs
