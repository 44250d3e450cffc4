package lab

import (
	"encoding/binary"
	"fmt"
	"os"
)

// efiProgram is what UEFI loads from a disk and starts: like bootSector, it
// writes the text behind itself to the first serial port and stops.
var efiProgram = []byte{
	0x48, 0x8d, 0x35, 0x1f, 0x00, 0x00, 0x00, // lea rsi,[rip+0x1f]: the text
	0xfc,       // cld
	0xac,       // next: lodsb
	0x84, 0xc0, // test al,al
	0x74, 0x14, // jz halt
	0x88, 0xc4, // mov ah,al
	0x66, 0xba, 0xfd, 0x03, // mov dx,0x3fd: line status
	0xec,       // busy: in al,dx
	0xa8, 0x20, // test al,0x20
	0x74, 0xfb, // jz busy
	0x88, 0xe0, // mov al,ah
	0x66, 0xba, 0xf8, 0x03, // mov dx,0x3f8: data
	0xee,       // out dx,al
	0xeb, 0xe7, // jmp next
	0xfa,       // halt: cli
	0xf4,       // hlt
	0xeb, 0xfc, // jmp halt
	0x90, // nop
}

const sector = 512

// WriteUEFIDisk makes a raw disk image with one FAT12 file system and in it
// \EFI\BOOT\BOOTX64.EFI, which prints DiskMarker: proof that a UEFI machine
// really started its own disk.
func WriteUEFIDisk(path string) error {
	const (
		sectors    = 2048
		fatSectors = 6 // 2041 clusters of 12 bits
		root       = 1 + fatSectors
		data       = root + 1 // where cluster 2 is
	)
	program := portableExecutable()
	image := make([]byte, sectors*sector)
	copy(image, bootParameters(sectors, fatSectors))

	clusters := (len(program) + sector - 1) / sector
	fat := image[sector:]
	setFAT12(fat, 0, 0xff8)
	for cluster := 1; cluster <= 3; cluster++ { // 2: EFI, 3: BOOT
		setFAT12(fat, cluster, 0xfff)
	}
	for i := range clusters {
		next := 4 + i + 1
		if i == clusters-1 {
			next = 0xfff
		}
		setFAT12(fat, 4+i, next)
	}
	const dir, file = 0x10, 0x20
	copy(image[root*sector:], dirEntry("EFI", dir, 2, 0))
	put := func(cluster int, entries ...[]byte) {
		for i, e := range entries {
			copy(image[(data+cluster-2)*sector+32*i:], e)
		}
	}
	put(2, dirEntry(".", dir, 2, 0), dirEntry("..", dir, 0, 0), dirEntry("BOOT", dir, 3, 0))
	put(3, dirEntry(".", dir, 3, 0), dirEntry("..", dir, 2, 0), dirEntry("BOOTX64 EFI", file, 4, len(program)))
	copy(image[(data+2)*sector:], program)
	if err := os.WriteFile(path, image, 0o644); err != nil {
		return fmt.Errorf("writing disk image: %w", err)
	}
	return nil
}

// bootParameters is the first sector of a FAT12 file system with one FAT, one
// sector of root directory and clusters of one sector.
func bootParameters(sectors, fatSectors uint16) []byte {
	le := binary.LittleEndian
	b := make([]byte, sector)
	copy(b, "\xeb\x3c\x90BOOTDLAB")
	le.PutUint16(b[11:], sector)
	b[13] = 1                             // sectors per cluster
	le.PutUint16(b[14:], 1)               // reserved: this one
	b[16] = 1                             // FATs
	le.PutUint16(b[17:], sector/32)       // root entries
	le.PutUint16(b[19:], sectors)         //
	b[21] = 0xf8                          // a fixed disk
	le.PutUint16(b[22:], fatSectors)      //
	le.PutUint16(b[24:], 32)              // sectors per track and heads: nobody asks
	le.PutUint16(b[26:], 2)               //
	b[36], b[38] = 0x80, 0x29             // drive, extended signature
	copy(b[43:], "BOOTD LAB  FAT12   ")   // label and type
	b[sector-2], b[sector-1] = 0x55, 0xaa //
	return b
}

// setFAT12 writes one 12-bit entry of a file allocation table.
func setFAT12(fat []byte, cluster, value int) {
	i := cluster + cluster/2
	if cluster%2 == 0 {
		fat[i] = byte(value)
		fat[i+1] = fat[i+1]&0xf0 | byte(value>>8)&0x0f
		return
	}
	fat[i] = fat[i]&0x0f | byte(value<<4)
	fat[i+1] = byte(value >> 4)
}

// dirEntry is a directory's entry; name is as on disk, padded to 8+3.
func dirEntry(name string, attributes byte, cluster, size int) []byte {
	e := make([]byte, 32)
	copy(e, fmt.Sprintf("%-11s", name))
	e[11] = attributes
	binary.LittleEndian.PutUint16(e[26:], uint16(cluster))
	binary.LittleEndian.PutUint32(e[28:], uint32(size))
	return e
}

// portableExecutable wraps efiProgram as UEFI wants programs: PE32+, x86-64,
// one section, subsystem 10 (UEFI specification, section 2.1.1).
func portableExecutable() []byte {
	const page, headers = 0x1000, 0x200
	le := binary.LittleEndian
	code := append(append([]byte{}, efiProgram...), "\r\n"+DiskMarker+"\r\n\x00"...)
	b := make([]byte, headers+sector)
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], 0x40)
	copy(b[0x40:], "PE\x00\x00")
	coff := b[0x44:]
	le.PutUint16(coff[0:], 0x8664) // machine
	le.PutUint16(coff[2:], 1)      // sections
	le.PutUint16(coff[16:], 240)   // size of the optional header
	le.PutUint16(coff[18:], 0x22)  // executable, large addresses
	opt := coff[20:]
	le.PutUint16(opt[0:], 0x20b)    // PE32+
	le.PutUint32(opt[4:], sector)   // size of code
	le.PutUint32(opt[16:], page)    // entry point
	le.PutUint32(opt[20:], page)    // base of code
	le.PutUint32(opt[32:], page)    // section alignment
	le.PutUint32(opt[36:], sector)  // file alignment
	le.PutUint32(opt[56:], 2*page)  // size of image
	le.PutUint32(opt[60:], headers) // size of headers
	le.PutUint16(opt[68:], 10)      // subsystem: UEFI application
	le.PutUint32(opt[108:], 16)     // data directories, all empty
	section := opt[240:]
	copy(section, ".text")
	le.PutUint32(section[8:], sector)      // virtual size
	le.PutUint32(section[12:], page)       // address
	le.PutUint32(section[16:], sector)     // size in the file
	le.PutUint32(section[20:], headers)    // place in the file
	le.PutUint32(section[36:], 0x60000020) // code, executable, readable
	copy(b[headers:], code)
	return b
}
