// Package realnode runs a real Kubernetes node.
package realnode
