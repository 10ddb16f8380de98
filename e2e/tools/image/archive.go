package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Modes of what is packed: nothing is writable by others, and nothing is setuid.
const (
	modeFile    = 0o644
	modeProgram = 0o755
)

// entry is a file to pack; a name that ends with a slash is a folder. Names are relative.
type entry struct {
	name string
	mode int64
	data []byte
}

// sorted returns the entries in the order of their names, so that a folder comes before
// what is in it, whoever made the list.
func sorted(entries []entry) []entry {
	return slices.SortedFunc(slices.Values(entries), func(a, b entry) int { return strings.Compare(a.name, b.name) })
}

// writeTar packs the entries with one time and no owner but root.
func writeTar(w io.Writer, entries []entry, at time.Time) error {
	archive := tar.NewWriter(w)
	for _, e := range sorted(entries) {
		header := &tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.data)), ModTime: at, Typeflag: tar.TypeReg}
		if strings.HasSuffix(e.name, "/") {
			header.Typeflag = tar.TypeDir
		}
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("packing %s: %w", e.name, err)
		}
		if _, err := archive.Write(e.data); err != nil {
			return fmt.Errorf("packing %s: %w", e.name, err)
		}
	}
	return archive.Close()
}

// writeTarGz is writeTar, compressed. The head of gzip has no name and no time.
func writeTarGz(w io.Writer, entries []entry, at time.Time) error {
	compressed, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := writeTar(compressed, entries, at); err != nil {
		return err
	}
	return compressed.Close()
}

// writeZip packs the entries with one time.
func writeZip(w io.Writer, entries []entry, at time.Time) error {
	// The format knows no earlier time.
	if first := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC); at.Before(first) {
		at = first
	}
	archive := zip.NewWriter(w)
	for _, e := range sorted(entries) {
		header := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: at}
		header.SetMode(os.FileMode(e.mode)) //nolint:gosec // one of the modes above
		file, err := archive.CreateHeader(header)
		if err != nil {
			return fmt.Errorf("packing %s: %w", e.name, err)
		}
		if _, err := file.Write(e.data); err != nil {
			return fmt.Errorf("packing %s: %w", e.name, err)
		}
	}
	return archive.Close()
}

// readTarGz returns the files of an archive. The time, owner and mode of each are dropped.
func readTarGz(data []byte) ([]entry, error) {
	uncompressed, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var entries []entry
	for archive := tar.NewReader(uncompressed); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry{name: header.Name, mode: modeFile, data: content})
	}
}

// readFolder returns the files below a folder, with names relative to it.
func readFolder(dir string) ([]entry, error) {
	var entries []entry
	files := os.DirFS(dir)
	err := fs.WalkDir(files, ".", func(name string, item fs.DirEntry, err error) error {
		if err != nil || item.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		entries = append(entries, entry{name: name, mode: modeFile, data: data})
		return nil
	})
	return entries, err
}

// saveBytes is save for what is in memory.
func (r *release) saveBytes(name string, mode os.FileMode, data []byte) error {
	return r.save(name, mode, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// save writes a result, and the folder that it is in.
func (r *release) save(name string, mode os.FileMode, write func(io.Writer) error) error {
	path := filepath.Join(r.out, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // what is released is for everyone
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if err := errors.Join(write(file), file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	r.say("wrote %s", path)
	return nil
}
