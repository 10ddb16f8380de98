package debimage

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Spec says what is in an image. What maintainer scripts would do, but for these few things, is
// not needed and not done: users, folders, links and files.
type Spec struct {
	// Name is the last part of the image's reference.
	Name string
	// Packages are packed with what they depend on, without recommendations.
	Packages []string
	// Omit names packages that are depended on and not packed.
	Omit []string
	// Program is a package of Go in this module: built statically, packed alone as /<Name>.
	Program string
	// Users are those besides root and nobody. Each has a group of its own name and number.
	Users []User
	// Folders are made besides those of the packages.
	Folders []Folder
	// Links have the path of a symbolic link and what it points to.
	Links map[string]string
	// Files have a path and a content; everybody may read them.
	Files map[string]string
	// Path comes before the usual folders of programs.
	Path string
	// User is the number of the user that the container runs as.
	User int
	// Command is run with the container's arguments in place of its own, as an entrypoint and
	// its default arguments are.
	Command, Arguments []string
}

// User is a line of /etc/passwd.
type User struct {
	Name string
	ID   int
	Home string
}

// Folder is a folder that a user owns.
type Folder struct {
	Path  string
	Owner int
	Mode  int64
}

// Reference is what a pod's container names as its image.
func (s *Spec) Reference() string { return Reference(s.Name) }

// Reference returns what a pod's container names as its image. Nothing serves it: the pull policy
// is Never.
func Reference(name string) string { return "packed.test/" + name + ":debian" }

// key names all that decides what is in the image, but for the versions of its packages.
func (s *Spec) key() (string, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", s.Name, err)
	}
	sum := sha256.Sum256(append(data, layout...))
	return hex.EncodeToString(sum[:8]), nil
}

// layout changes when the same spec is packed otherwise.
const layout = "2"

// base is what all images of Debian packages begin with, so that it is packed and unpacked once:
// a shell, its usual programs, and openssl.
func base() *Spec {
	return &Spec{Name: "base", Packages: []string{"base-files", "coreutils", "dash", "grep", "hostname", "openssl", "sed"}}
}
