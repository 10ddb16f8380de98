//go:build !linux

package main

// dieWithParent does nothing: only Linux can tie a process to its parent.
// There, an orderly stop still ends every process.
func dieWithParent() error { return nil }
