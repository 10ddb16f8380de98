package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc/PID/stat: USER_HZ, which Linux keeps at 100.
const tick = time.Second / 100

// usage is what a process takes.
type usage struct {
	memory
	cpu time.Duration
}

// memory is in bytes. What is resident is anonymous (heap, stacks) or of files (the
// program itself, as far as it was used).
type memory struct {
	resident, anonymous, peak int64
}

// readUsage reads what the kernel knows of a process.
func readUsage(pid int) (usage, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return usage{}, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return usage{}, fmt.Errorf("reading the time of process %d: %w", pid, err)
	}
	var u usage
	if u.memory, err = parseStatus(string(status)); err != nil {
		return usage{}, err
	}
	u.cpu, err = parseStat(string(stat))
	return u, err
}

// parseStatus reads /proc/PID/status, see proc_pid_status(5).
func parseStatus(text string) (memory, error) {
	var m memory
	wanted := map[string]*int64{"VmRSS": &m.resident, "RssAnon": &m.anonymous, "VmHWM": &m.peak}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		into := wanted[name]
		if into == nil {
			continue
		}
		kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return memory{}, fmt.Errorf("%s in a process's status: %w", name, err)
		}
		*into = kilobytes << 10
		delete(wanted, name)
	}
	if len(wanted) > 0 {
		return memory{}, errors.New("a process's status lacks VmRSS, RssAnon or VmHWM")
	}
	return m, nil
}

// parseStat reads /proc/PID/stat, see proc_pid_stat(5), and returns the processor time.
func parseStat(text string) (time.Duration, error) {
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const user, system = 14 - 3, 15 - 3 // counted from 1, the first behind the name being 3
	if len(fields) <= system {
		return 0, fmt.Errorf("a process's stat has %d fields behind its name", len(fields))
	}
	var ticks int64
	for _, field := range []string{fields[user], fields[system]} {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("a time in a process's stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}
