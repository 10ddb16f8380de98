package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeELF is a program's head with one part of a kind.
func fakeELF(t *testing.T, machine elf.Machine, kind elf.ProgType) []byte {
	t.Helper()
	var data bytes.Buffer
	head := elf.Header64{
		Ident:   [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:    uint16(elf.ET_EXEC),
		Machine: uint16(machine),
		Version: uint32(elf.EV_CURRENT),
		Phoff:   64, Phnum: 1, Phentsize: 56, Ehsize: 64, Shentsize: 64,
	}
	require.NoError(t, binary.Write(&data, binary.LittleEndian, head))
	require.NoError(t, binary.Write(&data, binary.LittleEndian, elf.Prog64{Type: uint32(kind)}))
	return data.Bytes()
}

func TestCheckStatic(t *testing.T) {
	const dynamic = "the program is not static: it needs a loader that the image has not"
	for name, c := range map[string]struct {
		machine elf.Machine
		part    elf.ProgType
		arch    string
		wrong   string
	}{
		"amd64":           {elf.EM_X86_64, elf.PT_LOAD, "amd64", ""},
		"arm64":           {elf.EM_AARCH64, elf.PT_LOAD, "arm64", ""},
		"other machine":   {elf.EM_X86_64, elf.PT_LOAD, "arm64", "the program is for EM_X86_64, and the image for EM_AARCH64"},
		"a loader":        {elf.EM_X86_64, elf.PT_INTERP, "amd64", dynamic},
		"libraries":       {elf.EM_AARCH64, elf.PT_DYNAMIC, "arm64", dynamic},
		"unknown machine": {elf.EM_X86_64, elf.PT_LOAD, "s390x", "no image is made for s390x"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkStatic(fakeELF(t, c.machine, c.part), c.arch)
			if c.wrong == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, c.wrong)
		})
	}
}

func TestBuildFails(t *testing.T) {
	r := newTestRelease(t, tinyProduct(t, time.Now()))
	_, err := r.build(t.Context(), program{"nothing", "linux", "amd64"})
	require.ErrorContains(t, err, "building nothing for linux/amd64: exit status 1\n")
	require.ErrorContains(t, err, "cmd/nothing", "the compiler's own words")
}

func TestProgramNames(t *testing.T) {
	var names []string
	for _, p := range plugins() {
		names = append(names, p.archived("v1.2.3")+" "+p.file())
	}
	assert.Equal(t, []string{
		"kubectl-mtls-v1.2.3-linux-amd64 kubectl-mtls",
		"kubectl-mtls-v1.2.3-linux-arm64 kubectl-mtls",
		"kubectl-mtls-v1.2.3-darwin-amd64 kubectl-mtls",
		"kubectl-mtls-v1.2.3-darwin-arm64 kubectl-mtls",
		"kubectl-mtls-v1.2.3-windows-amd64 kubectl-mtls.exe",
		"kubectl-mtls-v1.2.3-windows-arm64 kubectl-mtls.exe",
	}, names)
}
