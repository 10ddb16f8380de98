// Package e2e tests the injector end to end, on a real control plane that runs on
// this machine; see the packages below it. Its own code is tests alone.
package e2e
