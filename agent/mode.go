package agent

// Who may read a file, and who we are.

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// explainMode says who may read a file and who the agent is.
func explainMode(path string) string {
	groups, err := os.Getgroups()
	if err != nil {
		groups = nil // those that are known are told
	}
	groups = append([]int{os.Getegid()}, groups...)
	slices.Sort(groups)
	var names []string
	for _, group := range slices.Compact(groups) {
		names = append(names, strconv.Itoa(group))
	}
	us := fmt.Sprintf("this process has uid %d and groups %s", os.Geteuid(), strings.Join(names, ", "))
	const remedy = "set the annotation fs-group, or the pod's securityContext.fsGroup, which the kubelet gives to all its processes"
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Sprintf("%s, and may not look into its folder: %s", us, remedy)
	}
	owner := ""
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = fmt.Sprintf(", owner %d and group %d", stat.Uid, stat.Gid)
	}
	return fmt.Sprintf("it has mode %04o%s, and %s: %s", info.Mode().Perm(), owner, us, remedy)
}
