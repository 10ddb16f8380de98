package agent

// What is expected of the files, and the reading of them.

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Files says where the files are and what must be in them.
type Files struct {
	// Cert and Key are paths of PEM files; CA is that of the bundle that the certificate is
	// verified against, and empty for no verification.
	Cert, Key, CA string
	// Usages are those that the certificate must be good for, by cert-manager's names:
	// "server auth", "client auth".
	Usages []string
	// DNSNames and URIs must each be in the certificate.
	DNSNames, URIs []string
}

// Report is what a check has found.
type Report struct {
	// Problems are sentences, the cause before what follows of it; none when all is well.
	Problems []string
	// NotAfter is when the certificate ends; zero if it cannot be read.
	NotAfter time.Time
	// Fingerprint stands for the contents, and for what cannot be read: it changes when they do.
	Fingerprint string
}

// Err returns the problems as one error, a line each; nil if there is none.
func (r Report) Err() error {
	if len(r.Problems) == 0 {
		return nil
	}
	return errors.New(strings.Join(r.Problems, "\n"))
}

// Check reads the files and verifies them for a moment. It finds every problem at once and
// never tells anything of a key.
func (f Files) Check(now time.Time) Report {
	read := f.read()
	report := Report{Problems: read.problems, Fingerprint: read.fingerprint()}
	v := verification{files: f, now: now}
	v.certificate(read.data[f.Cert])
	v.key(read.data[f.Key])
	v.bundle(read.data[f.CA])
	v.chain()
	report.Problems = append(report.Problems, v.problems...)
	if len(v.certs) > 0 {
		report.NotAfter = v.certs[0].NotAfter
	}
	return report
}

// paths returns the files that there are to be.
func (f Files) paths() []string {
	paths := []string{f.Cert, f.Key}
	if f.CA != "" {
		paths = append(paths, f.CA)
	}
	return paths
}

// folders returns the folders of the files, each once.
func (f Files) folders() []string {
	var folders []string
	for _, path := range f.paths() {
		if dir := filepath.Dir(path); !slices.Contains(folders, dir) {
			folders = append(folders, dir)
		}
	}
	return folders
}

// contents are files that belong together.
type contents struct {
	data     map[string][]byte
	problems []string
	// order has the paths as they were read, for the fingerprint.
	order []string
}

// read reads all files. The kubelet and the CSI driver replace them by swapping the symlink
// ..data, so a swap between two readings would give a key and a certificate that do not
// belong together: then it reads again.
func (f Files) read() contents {
	const attempts = 5
	var c contents
	for range attempts {
		before := f.generation()
		c = contents{data: map[string][]byte{}, order: f.paths()}
		blind := map[string]bool{} // folders that are told of already
		for _, path := range c.order {
			data, err := readLimited(path)
			if err == nil {
				c.data[path] = data
				continue
			}
			folder := filepath.Dir(path)
			if problem := explainFolder(folder); problem != "" {
				if !blind[folder] {
					c.problems = append(c.problems, problem)
				}
				blind[folder] = true
				continue
			}
			c.problems = append(c.problems, explainFile(path, err))
		}
		if f.generation() == before {
			break
		}
	}
	return c
}

// generation is where the symlinks ..data point to.
func (f Files) generation() string {
	var all []string
	for _, folder := range f.folders() {
		target, _ := os.Readlink(filepath.Join(folder, "..data")) // other folders have none
		all = append(all, target)
	}
	return strings.Join(all, "\n")
}

// fingerprint is a hash of the contents and the problems.
func (c contents) fingerprint() string {
	sum := sha256.New()
	for _, path := range c.order {
		fmt.Fprintf(sum, "%s %d\n", path, len(c.data[path]))
		sum.Write(c.data[path])
	}
	for _, problem := range c.problems {
		fmt.Fprintln(sum, problem)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// errTooLarge is of a file that is none of ours.
var errTooLarge = fmt.Errorf("it is larger than %d bytes", maxFile)

// maxFile bounds what is read into 16 MiB of memory. A ConfigMap has at most 1 MiB.
const maxFile = 1 << 20

func readLimited(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, errTooLarge
	}
	return data, nil
}

// explainFolder tells of a folder of which no file can be read; empty if it is fine.
func explainFolder(folder string) string {
	entries, err := os.ReadDir(folder)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return folder + " does not exist: mount the volume with the files into this container"
	case errors.Is(err, os.ErrPermission):
		return fmt.Sprintf("%s cannot be read: %s", folder, explainMode(folder))
	case err != nil:
		return fmt.Sprintf("%s cannot be read: %v", folder, err)
	case len(entries) == 0:
		return folder + " is empty: its files have not been written; if that does not change by itself, look at the pod's Events " +
			"and its CertificateRequests, and delete the pod to have the volume mounted anew"
	}
	return ""
}

// explainFile tells why a file cannot be read.
func explainFile(path string, err error) string {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Sprintf("%s does not exist: %s has %s", path, filepath.Dir(path), visible(filepath.Dir(path)))
	case errors.Is(err, os.ErrPermission):
		return fmt.Sprintf("%s cannot be read: %s", path, explainMode(path))
	}
	return fmt.Sprintf("%s cannot be read: %v", path, withoutPath(err))
}

// withoutPath spares a path that has been told.
func withoutPath(err error) error {
	if wrapped, ok := errors.AsType[*os.PathError](err); ok {
		return wrapped.Err
	}
	return err
}

// visible lists the files of a folder, without those of the swap.
func visible(folder string) string {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "files that cannot be listed"
	}
	var names []string
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "..") {
			names = append(names, entry.Name())
		}
	}
	if len(names) == 0 {
		return "no files"
	}
	return "only " + strings.Join(names, ", ")
}
