// Command witness is what the pods of failure tests run: it tells what it finds in the folder
// of its certificate when it starts, and whatever becomes of it. It never reloads nor ends:
// its log is what a program in its place would have seen.
//
//	witness FOLDER
//
// A line is a word with what belongs to it: "start" and "now", each with what is there:
// "nothing", "valid until TIME", "not valid before TIME", "expired at TIME" or "unusable: WHY".
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const interval = 200 * time.Millisecond

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: witness FOLDER")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	seen := state(os.Args[1])
	fmt.Fprintln(os.Stdout, "start", seen)
	for tick := time.NewTicker(interval); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := state(os.Args[1]); now != seen {
			seen = now
			fmt.Fprintln(os.Stdout, "now", seen)
		}
	}
}

// state says in words what is in the folder.
func state(dir string) string {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	switch now := time.Now(); {
	case errors.Is(err, fs.ErrNotExist):
		return "nothing"
	case err != nil:
		return "unusable: " + err.Error()
	case now.Before(pair.Leaf.NotBefore):
		return "not valid before " + pair.Leaf.NotBefore.UTC().Format(time.RFC3339)
	case now.After(pair.Leaf.NotAfter):
		return "expired at " + pair.Leaf.NotAfter.UTC().Format(time.RFC3339)
	default:
		return "valid until " + pair.Leaf.NotAfter.UTC().Format(time.RFC3339)
	}
}
