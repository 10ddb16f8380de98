// Package files reads the manifests that a command is given: files, folders and the standard
// input.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
)

// Extensions are those of the files that are taken from folders, without the dot.
func Extensions() []string { return []string{"yaml", "yml", "json"} }

// Options name the files.
type Options struct {
	// Filenames are files and folders; "-" is the standard input.
	Filenames []string
	// Recursive takes the folders in folders as well.
	Recursive bool
}

// AddFlags adds -f and -R. verb says what is done with the files.
func (o *Options) AddFlags(cmd *cobra.Command, verb string) {
	flags := cmd.Flags()
	flags.StringArrayVarP(&o.Filenames, "filename", "f", nil, "file or folder to "+verb+", or - for the standard input; may be repeated")
	flags.BoolVarP(&o.Recursive, "recursive", "R", false, "also take the folders in the folders given with -f")
	_ = cmd.MarkFlagFilename("filename", Extensions()...) // its error is for unknown flags
}

// Read returns the documents of all files, and an error for each document or file that
// cannot be read.
func (o *Options) Read(in io.Reader) ([]*manifest.Document, []error) {
	var docs []*manifest.Document
	var errs []error
	stdinTaken := false
	for _, name := range o.Filenames {
		if name == "-" {
			if stdinTaken {
				errs = append(errs, errors.New("the standard input can be given only once"))
				continue
			}
			stdinTaken = true
		}
		paths, err := o.expand(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, path := range paths {
			found, problems := readFile(path, in)
			docs, errs = append(docs, found...), append(errs, problems...)
		}
	}
	return docs, errs
}

func readFile(path string, in io.Reader) ([]*manifest.Document, []error) {
	name, load := path, os.ReadFile
	if path == "-" {
		name, load = "standard input", func(string) ([]byte, error) { return io.ReadAll(in) }
	}
	data, err := load(path)
	if err != nil {
		return nil, []error{err}
	}
	return manifest.Read(name, data)
}

// expand returns the files that a name stands for: itself, or those in a folder by their
// extension and in the order of their names.
func (o *Options) expand(name string) ([]string, error) {
	if name == "-" {
		return []string{name}, nil
	}
	if strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") {
		return nil, fmt.Errorf("%s: addresses are not read; fetch it and give it with -f -", name)
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	var paths []string
	err = filepath.WalkDir(name, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != name && !o.Recursive:
			return fs.SkipDir
		case !entry.IsDir() && slices.Contains(Extensions(), strings.TrimPrefix(filepath.Ext(path), ".")):
			paths = append(paths, path)
		}
		return nil
	})
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("%s: no files that end with .%s", name, strings.Join(Extensions(), ", ."))
	}
	return paths, err
}
