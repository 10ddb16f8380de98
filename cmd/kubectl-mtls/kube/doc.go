// Package kube is the way of the plugin's commands to a cluster: kubectl's own flags, a
// client, and what is read over and over again: Namespaces, Services and the injector's
// configuration.
//
// It works with the rights of an ordinary user of a namespace. What the user may not read
// is no error: the answer is [Hidden], the [Gap] is kept, with the rule that would close
// it, and the command goes on with what it can get.
package kube
