package netif

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// frames are what one system call reads of a packet socket: the IPv6 headers, and which cards sent them. The zero value is
// ready. A rack that boots is thousands of frames a second, each of which would cost a call of its own.
type frames struct {
	all  [32]frame
	hdrs [32]unix.Mmsghdr
}

type frame struct {
	header [ipv6HeaderLen]byte
	from   unix.RawSockaddrLinklayer
	iov    unix.Iovec
}

// read reads frames without waiting: EAGAIN where there are none.
func (f *frames) read(fd int) (int, unix.Errno) {
	for i := range f.all {
		h, to := &f.hdrs[i].Hdr, &f.all[i]
		to.iov.Base = &to.header[0]
		to.iov.SetLen(len(to.header))
		h.Iov = &to.iov
		h.SetIovlen(1)
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&to.from)), unix.SizeofSockaddrLinklayer
	}
	for {
		n, _, err := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&f.hdrs)), uintptr(len(f.hdrs)), unix.MSG_DONTWAIT, 0, 0)
		if err != unix.EINTR {
			return int(n), err
		}
	}
}
