// Command tether keeps the test cluster's processes and files from outliving
// the program that made them, however that program ends (even by SIGKILL).
//
//	tether exec PROGRAM [ARG…]   becomes PROGRAM, which then dies with its parent
//	tether clean DIR             waits for its standard input to end, then removes DIR
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"example.io/mtls-injector/e2e/internal/atomicdir"
)

var (
	errUsage  = errors.New("usage: tether exec PROGRAM [ARG…] | tether clean DIR")
	errOrphan = errors.New("the parent has ended already")
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tether:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return errUsage
	}
	switch args[0] {
	case "exec":
		return become(args[1:])
	case "clean":
		return clean(os.Stdin, args[1])
	default:
		return errUsage
	}
}

// become replaces this process by the program. A death signal survives exec.
func become(args []string) error {
	parent := os.Getppid()
	if err := dieWithParent(); err != nil {
		return fmt.Errorf("tying %s to its parent: %w", args[0], err)
	}
	if os.Getppid() != parent {
		return errOrphan // it died too early to be noticed
	}
	return fmt.Errorf("executing %s: %w", args[0], syscall.Exec(args[0], args, os.Environ())) //nolint:gosec // that is its purpose
}

// clean removes dir once in ends, which it does when the parent closes it or is
// gone. Terminal signals are for the parent to handle: this must outlive it.
func clean(in io.Reader, dir string) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if _, err := io.Copy(io.Discard, in); err != nil {
		return fmt.Errorf("waiting for the parent to end: %w", err)
	}
	// Processes that die with the parent may still be writing for a moment.
	var err error
	for range 50 {
		if err = atomicdir.Remove(dir); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}
