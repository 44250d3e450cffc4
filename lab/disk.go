package lab

import (
	"fmt"
	"os"
)

// DiskMarker is what a disk made by WriteDisk prints on the serial console
// when it is booted.
const DiskMarker = "LOCAL DISK BOOTED"

// bootSector is what a BIOS loads at 0x7c00 and starts: it writes the text
// behind itself to the first serial port, polled, and stops.
var bootSector = []byte{
	0xfa, 0xfc, // cli; cld
	0x31, 0xc0, 0x8e, 0xd8, // xor ax,ax; mov ds,ax
	0xbe, 0x23, 0x7c, // mov si,0x7c23: the text
	0xac,       // next: lodsb
	0x84, 0xc0, // test al,al
	0x74, 0x12, // jz halt
	0x88, 0xc4, // mov ah,al
	0xba, 0xfd, 0x03, // mov dx,0x3fd: line status
	0xec,       // busy: in al,dx
	0xa8, 0x20, // test al,0x20
	0x74, 0xfb, // jz busy
	0x88, 0xe0, // mov al,ah
	0xba, 0xf8, 0x03, // mov dx,0x3f8: data
	0xee,       // out dx,al
	0xeb, 0xe9, // jmp next
	0xf4,       // halt: hlt
	0xeb, 0xfd, // jmp halt
}

// WriteDisk makes a raw disk image whose boot sector prints DiskMarker: proof
// that a BIOS machine really started its own disk.
func WriteDisk(path string) error {
	image := make([]byte, 1<<20)
	text := append([]byte("\r\n"+DiskMarker+"\r\n"), 0)
	copy(image[copy(image, bootSector):], text)
	image[510], image[511] = 0x55, 0xaa
	if err := os.WriteFile(path, image, 0o644); err != nil {
		return fmt.Errorf("writing disk image: %w", err)
	}
	return nil
}
