package csidriver

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cert-manager/cert-manager/pkg/util/pki"
	corev1 "k8s.io/api/core/v1"
)

// Volume is a volume as whoever mounts it knows it.
type Volume struct {
	// ID is its name on this node.
	ID string `json:"volumeID"`
	// Pod is the pod, with at least what the driver is told of it, and its volume Name.
	Pod  *corev1.Pod `json:"pod"`
	Name string      `json:"name"`
	// Target is where the volume is mounted.
	Target string `json:"targetPath,omitempty"`
}

// metadata is what the driver keeps of a volume beside its files, so that it finds it
// again after a restart of its own.
type metadata struct {
	Volume `json:",inline"`
	// NextIssuance is when to renew; nil as long as nothing has been issued.
	NextIssuance *time.Time `json:"nextIssuanceTime,omitempty"`
}

const (
	metadataFile = "metadata.json"
	dataDir      = "data"
)

// DataDir is the folder of a volume's files: what is mounted into the pod.
func (d *Driver) DataDir(id string) string { return filepath.Join(d.dir(id), dataDir) }

func (d *Driver) dir(id string) string { return filepath.Join(d.opts.Root, id) }

// register makes the volume's folder, still empty, and notes that it is wanted.
func (d *Driver) register(v *volume, gid int64) error {
	if err := os.MkdirAll(d.dir(v.id), 0o750); err != nil {
		return fmt.Errorf("making the volume's folder: %w", err)
	}
	if err := os.Mkdir(d.DataDir(v.id), dirMode); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("making the volume's folder: %w", err)
	}
	if os.Geteuid() == 0 { // others cannot give files away
		if err := os.Chown(d.DataDir(v.id), 0, int(gid)); err != nil {
			return fmt.Errorf("giving the volume's folder its group: %w", err)
		}
	}
	return d.note(v)
}

// note writes the volume's metadata. The caller holds the volume's lock.
func (d *Driver) note(v *volume) error {
	m := metadata{Volume: Volume{ID: v.id, Pod: v.pod, Name: v.name, Target: v.target}}
	if v.key != nil {
		m.NextIssuance = &v.next
	}
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encoding the volume's metadata: %w", err)
	}
	path := filepath.Join(d.dir(v.id), metadataFile)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return fmt.Errorf("writing the volume's metadata: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("writing the volume's metadata: %w", err)
	}
	return nil
}

// Load finds the volumes of an earlier driver in Root. Those that it issued are renewed
// when they are due; one that never had a certificate is left to be published again.
func (d *Driver) Load() error {
	entries, err := os.ReadDir(d.opts.Root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("listing the volumes: %w", err)
	}
	for _, entry := range entries {
		if err := d.load(entry.Name()); err != nil {
			return fmt.Errorf("loading volume %s: %w", entry.Name(), err)
		}
	}
	d.wakeUp()
	return nil
}

func (d *Driver) load(id string) error {
	data, err := os.ReadFile(filepath.Join(d.dir(id), metadataFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil // removed half, or not a volume
	}
	if err != nil {
		return err
	}
	var m metadata
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	if m.NextIssuance == nil {
		return nil
	}
	req, err := Parse(m.Pod, m.Name)
	if err != nil {
		return err
	}
	data, err = os.ReadFile(filepath.Join(d.DataDir(id), req.KeyFile))
	if err != nil {
		return err
	}
	key, err := pki.DecodePrivateKeyBytes(data)
	if err != nil {
		return err
	}
	v := d.volume(m.Volume)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.key, v.next = key, *m.NextIssuance
	return nil
}
