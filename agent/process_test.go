package agent

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeProcess is a line of a table of processes.
type fakeProcess struct {
	pid, ppid int
	comm      string
	start     int
	log       string // the source of the termination log
	gone      bool
}

// fakeProc makes the tree of /proc of processes.
func fakeProc(processes ...fakeProcess) proc {
	tree := fstest.MapFS{"version": {Data: []byte("Linux")}, "self": {Mode: fs.ModeSymlink}}
	for _, p := range processes {
		dir := fmt.Sprint(p.pid)
		if p.gone {
			tree[dir] = &fstest.MapFile{Mode: fs.ModeDir | 0o555}
			continue
		}
		tree[dir+"/stat"] = &fstest.MapFile{Data: fmt.Appendf(nil, "%d (%s) S %d 1 1 0 -1 4194560 1 0 0 0 1 1 0 0 20 0 1 0 %d 100 100 0\n", p.pid, p.comm, p.ppid, p.start)}
		if p.log != "" {
			tree[dir+"/mountinfo"] = &fstest.MapFile{Data: []byte(mountinfo(p.log))}
		}
	}
	return proc{tree}
}

func mountinfo(log string) string {
	return "520 410 0:57 / / ro,relatime master:1 - overlay overlay rw,lowerdir=/a:/b\n" +
		"521 520 0:60 / /proc rw,nosuid - proc proc rw\n" +
		"530 520 254:1 /var/lib/kubelet/pods/0a1b/etc-hosts /etc/hosts rw,relatime - ext4 /dev/root rw\n" +
		"531 520 254:1 " + log + " /dev/termination-log rw,relatime - ext4 /dev/root rw\n"
}

const pods = "/var/lib/kubelet/pods/0a1b-2c/containers/"

// nginxPod is a pod with the agent, nginx below a shell, a program that was exec'ed, and
// the remains of an earlier nginx.
func nginxPod() []fakeProcess {
	return []fakeProcess{
		{pid: 1, comm: "pause", start: 100},
		{pid: 7, comm: "mtls-agent", start: 110, log: pods + "mtls-agent/aa11"},
		{pid: 20, comm: "nginx", start: 120, log: pods + "web/0000"},
		{pid: 31, ppid: 30, comm: "nginx", start: 210, log: pods + "web/bb22"},
		{pid: 32, ppid: 31, comm: "nginx", start: 211, log: pods + "web/bb22"},
		{pid: 33, ppid: 31, comm: "nginx", start: 211, log: pods + "web/bb22"},
		{pid: 30, comm: "sh", start: 200, log: pods + "web/bb22"},
		{pid: 25, comm: "nginx", start: 300, log: pods + "web/bb22"}, // kubectl exec, with a number used again
		{pid: 40, comm: "sh", start: 205, log: pods + "web-logs/cc33"},
		{pid: 50, gone: true},
		{pid: 51, comm: "kthread (x) y", start: 1},
	}
}

func TestFind(t *testing.T) {
	for name, c := range map[string]struct {
		processes       []fakeProcess
		container, comm string
		want            int
		wrong           string
	}{
		"main process":                    {nginxPod(), "web", "", 30, ""},
		"program below the shell":         {nginxPod(), "web", "nginx", 31, ""},
		"container whose name is longer":  {nginxPod(), "web-logs", "", 40, ""},
		"program that is not there":       {nginxPod(), "web", "envoy", 0, "container web has no process envoy: it has sh, nginx: no such process"},
		"container that is not there":     {nginxPod(), "db", "", 0, "no process of container db is to be seen, only those of mtls-agent, web, web-logs: no such process"},
		"process namespace of its own":    {nginxPod()[1:2], "web", "", 0, "no process of container web is to be seen: it has not started, or the pod lacks shareProcessNamespace: true: no such process"},
		"main process has just ended":     {nginxPod()[3:5], "web", "", 0, "container web has processes, but none that the runtime started: no such process"},
		"a name that the kernel has cut":  {[]fakeProcess{{pid: 9, comm: "prometheus-conf", start: 1, log: pods + "web/1"}}, "web", "prometheus-config-reloader", 9, ""},
		"kubelet on a file system of its": {[]fakeProcess{{pid: 9, comm: "x", start: 1, log: "/pods/0a1b/containers/web/1"}}, "web", "", 9, ""},
		"log that has been removed":       {[]fakeProcess{{pid: 9, comm: "x", start: 1, log: pods + "web/1//deleted"}}, "web", "", 9, ""},
		"started at the same time":        {[]fakeProcess{{pid: 9, comm: "x", start: 1, log: pods + "web/1"}, {pid: 8, comm: "y", start: 1, log: pods + "web/1"}}, "web", "", 8, ""},
		"another program's path":          {[]fakeProcess{{pid: 9, comm: "x", start: 1, log: "/data/containers/web/1"}}, "web", "", 0, "no process of container web is to be seen: it has not"},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := fakeProc(c.processes...).find(c.container, c.comm)
			if c.wrong != "" {
				require.ErrorContains(t, err, c.wrong)
				require.ErrorIs(t, err, errNoProcess)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, found.pid)
		})
	}
}

func TestFindWithoutProc(t *testing.T) {
	_, err := proc{os.DirFS("/does/not/exist")}.find("web", "")
	require.ErrorContains(t, err, "listing processes: open .: no such file or directory")
}

func TestParseStat(t *testing.T) {
	for name, c := range map[string]struct{ stat, wrong string }{
		"no brackets":  {"12 sh S 1", "stat: no name in brackets"},
		"wrong order":  {") (", "stat: no name in brackets"},
		"too short":    {"12 (sh) S 1", "stat: too few fields"},
		"no pid":       {"x (sh)" + strings.Repeat(" 1", 25), `stat: pid: strconv.Atoi: parsing "x": invalid syntax`},
		"no parent":    {"1 (sh) S x" + strings.Repeat(" 1", 25), `stat: parent: strconv.Atoi: parsing "x": invalid syntax`},
		"no start":     {"1 (sh) S 1" + strings.Repeat(" x", 25), `stat: start time: strconv.ParseUint: parsing "x": invalid syntax`},
		"name of odds": {"12 (a) (b\n) S 1" + strings.Repeat(" 7", 25), ""},
	} {
		t.Run(name, func(t *testing.T) {
			one, err := parseStat([]byte(c.stat))
			if c.wrong != "" {
				require.EqualError(t, err, c.wrong)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, process{pid: 12, ppid: 1, comm: "a) (b\n", start: 7}, one)
		})
	}
}

// TestOwnStat reads what this kernel writes.
func TestOwnStat(t *testing.T) {
	one, err := proc{os.DirFS("/proc")}.process(os.Getpid())
	require.NoError(t, err)
	assert.Equal(t, os.Getpid(), one.pid)
	assert.Equal(t, os.Getppid(), one.ppid)
	assert.Positive(t, one.start)
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) (b) S 1 1 1 0 -1 4194560 1 0 0 0 1 1 0 0 20 0 1 0 77 100 100 0\n"))
	f.Add([]byte("12 (sh) S"))
	f.Fuzz(func(t *testing.T, stat []byte) {
		if one, err := parseStat(stat); err == nil && !strings.Contains(string(stat), "("+one.comm+")") {
			t.Errorf("the name %q is not in %q", one.comm, stat)
		}
	})
}

func FuzzParseMountinfo(f *testing.F) {
	f.Add([]byte(mountinfo(pods + "web/0a1b")))
	f.Add([]byte(mountinfo(pods + "web/0a1b//deleted")))
	f.Fuzz(func(t *testing.T, mounts []byte) {
		container, instance := parseMountinfo(mounts)
		if (container == "") != (instance == "") {
			t.Errorf("half an answer: %q %q", container, instance)
		}
		if container != "" && !strings.Contains(string(mounts), "/containers/"+container+"/"+instance) {
			t.Errorf("%q %q is not in %q", container, instance, mounts)
		}
	})
}
