package ingress

import (
	"errors"
	"fmt"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dropsAt is SK_MEMINFO_DROPS of linux/sock_diag.h: the place of the count in what SO_MEMINFO gives.
const dropsAt = 8

// Dropped is how many datagrams the kernel dropped since the socket was opened because its receive buffer was full; the count
// begins again after 2^32. Errors: Linux before 4.12, or the socket is closed.
func Dropped(udp *net.UDPConn) (uint32, error) {
	raw, err := udp.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("reading drops of a socket: %w", err)
	}
	var info [dropsAt + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	var failed unix.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, failed = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	})
	if failed != 0 {
		err = errors.Join(err, failed)
	}
	if err != nil {
		return 0, fmt.Errorf("reading drops of a socket: %w", err)
	}
	return info[dropsAt], nil
}
