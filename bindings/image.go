package bindings

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
)

// checkImage finds what would make the dynamic linker crash or speak in riddles: a file that is no library, is one for
// another processor, or was cut short. glibc maps a truncated library without complaint, and touching the missing pages
// kills the process. Systems whose libraries are not 64-bit ELF are left to their linker.
func checkImage(path string) error {
	machine, ok := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "riscv64": elf.EM_RISCV,
		"ppc64le": elf.EM_PPC64, "loong64": elf.EM_LOONGARCH}[runtime.GOARCH]
	if !ok || runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return nil
	}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, syscall.ENOTDIR): // a file where a directory was looked for: there is no such file either
		return syscall.ENOENT
	case err != nil:
		return err.(*os.PathError).Err // the caller names the path
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return err
	}
	if !stat.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	size := uint64(stat.Size())
	var h elf.Header64
	switch err := binary.Read(f, binary.LittleEndian, &h); {
	case errors.Is(err, io.EOF):
		return errors.New("the file is empty")
	case string(h.Ident[:4]) != elf.ELFMAG && err == nil, errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("not a shared library: no ELF header")
	case err != nil:
		return err
	}
	if h.Ident[elf.EI_CLASS] != byte(elf.ELFCLASS64) || h.Ident[elf.EI_DATA] != byte(elf.ELFDATA2LSB) ||
		elf.Machine(h.Machine) != machine {
		return fmt.Errorf("a library for %v, this program needs %v", elf.Machine(h.Machine), machine)
	}
	if elf.Type(h.Type) != elf.ET_DYN {
		return fmt.Errorf("not a shared library: ELF type %v", elf.Type(h.Type))
	}
	if err := within("the section table", h.Shoff, uint64(h.Shentsize)*uint64(h.Shnum), size); h.Shoff != 0 && err != nil {
		return err
	}
	if err := within("the program headers", h.Phoff, uint64(h.Phentsize)*uint64(h.Phnum), size); err != nil {
		return err
	}
	if int(h.Phentsize) != binary.Size(elf.Prog64{}) {
		return fmt.Errorf("damaged: program headers of %d bytes", h.Phentsize)
	}
	programs := make([]elf.Prog64, h.Phnum)
	at := io.NewSectionReader(f, int64(h.Phoff), stat.Size()-int64(h.Phoff))
	if err := binary.Read(at, binary.LittleEndian, programs); err != nil {
		return err
	}
	for _, p := range programs {
		if elf.ProgType(p.Type) != elf.PT_LOAD {
			continue
		}
		if err := within("a segment", p.Off, p.Filesz, size); err != nil {
			return err
		}
	}
	return nil
}

// within reports a part of the file that reaches past its end.
func within(what string, offset, bytes, size uint64) error {
	if offset > size || bytes > size-offset {
		return fmt.Errorf("truncated: %s ends at byte %d, the file has %d", what, offset+bytes, size)
	}
	return nil
}
