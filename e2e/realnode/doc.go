// Package realnode runs a real Kubernetes cluster of one node on this machine: the control
// plane of package cluster and, in network, mount, PID, UTS and IPC namespaces of their own, a
// kubelet, containerd, runc, kube-proxy, kube-scheduler, a DNS server for Services, the rest of
// cert-manager, trust-manager, and the product's image and chart. It needs root, Linux and the
// apt-get of Debian or Ubuntu, and installs nothing: Go programs are built from pinned modules,
// packages are unpacked into the cache. When the program ends, however it ends, the kernel ends
// all that ran in the namespaces, and a watchman removes cgroups and files. Several nodes can
// run side by side.
//
// # How to run a test
//
//	make test-node RUN=TestDNS            one test; all without RUN
//	cd e2e && go test -tags node -v -run TestDNS ./nodetest
//	E2E_LOG_DIR=/tmp/logs make test-node  keeps the logs: kubelet, containerd, kube-apiserver…
//	make test-node RUN=TestDNS KEEP=1     leaves the node running until Ctrl-C and says how to get in
//
// # How to write one
//
// Tests of package nodetest have the build tag node. theNode(t) is the node that they share,
// newNamespace(t) a namespace that is opted in; when the test fails, it shows the namespace's
// pods, Events and logs. There is no network to the outside, and no registry: an image comes
// from an archive by [Node.Import], or is a program of ours by [PackProgram], and pods use it
// with imagePullPolicy Never. Pods reach each other by the names of Services, as everywhere;
// the test reaches pods by their addresses. The chart is installed with its defaults: the
// ClusterIssuer mtls-ca signs, and the Bundle mtls-ca-bundle is in every namespace.
package realnode
