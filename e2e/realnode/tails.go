package realnode

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Tails returns the last lines of the logs of the kubelet and containerd.
func (n *Node) Tails(lines int) string {
	var b strings.Builder
	for _, name := range []string{"kubelet", "containerd"} {
		data, err := os.ReadFile(filepath.Join(n.LogDir, name+".log"))
		if err != nil {
			fmt.Fprintf(&b, "%v\n", err)
			continue
		}
		all := strings.Split(strings.TrimSpace(string(data)), "\n")
		fmt.Fprintf(&b, "end of %s.log:\n%s\n", name, strings.Join(all[max(0, len(all)-lines):], "\n"))
	}
	return b.String()
}
