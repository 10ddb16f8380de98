package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// dieWithParent asks the kernel to kill this process when its parent dies.
func dieWithParent() error {
	return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0)
}
