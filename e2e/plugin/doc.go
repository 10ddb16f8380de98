// Package plugin tests the commands of `kubectl mtls` that ask a cluster, on a real control
// plane with the chart installed: as its administrator, and as an ordinary user of a namespace.
package plugin
