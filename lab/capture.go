package lab

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// snapLen is how much of each frame a capture keeps: all headers and every
// DHCPv6, RA and DNS message, but not the megabytes of an initrd.
const snapLen = 1536

// Capture writes what passes an interface of the lab to a file that any packet
// tool reads (pcap, Ethernet, microseconds).
type Capture struct {
	sock *os.File
	stop chan struct{}
	done chan error
}

// capture starts recording ifname, an interface among the bridges and taps.
func (l *Lab) capture(ifname, path string) (*Capture, error) {
	var fd int
	err := l.links.do(func() error {
		var err error
		fd, err = packetSocket(ifname)
		return err
	})
	if err != nil {
		return nil, err
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("creating capture: %w", err), unix.Close(fd))
	}
	c := &Capture{
		sock: os.NewFile(uintptr(fd), "capture of "+ifname),
		stop: make(chan struct{}), done: make(chan error, 1),
	}
	go func() { c.done <- c.run(file) }()
	return c, nil
}

// packetSocket opens a socket that sees all frames of ifname, both ways, in
// the namespace of the calling thread.
func packetSocket(ifname string) (int, error) {
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // network byte order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, fmt.Errorf("opening a packet socket: %w", err)
	}
	index, err := ifIndex(fd, ifname)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index})
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	}
	if err == nil { // or a bridge shows only what is addressed to itself
		err = unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
			&unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC})
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("capturing on %s: %w", ifname, err), unix.Close(fd))
	}
	return fd, nil
}

func ifIndex(fd int, ifname string) (int, error) {
	request, err := unix.NewIfreq(ifname)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return 0, err
	}
	return int(request.Uint32()), nil
}

// run copies frames until Stop, and then what the kernel still holds. The file
// is whole whenever nothing has moved for a while.
func (c *Capture) run(file *os.File) error {
	w := &pcapWriter{w: bufio.NewWriterSize(file, 1<<16)}
	w.fileHeader()
	frame := make([]byte, 1<<16)
	for {
		if err := c.sock.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			w.err = errors.Join(w.err, err)
		}
		n, err := c.sock.Read(frame)
		if err == nil {
			w.frame(frame[:n], time.Now())
			continue
		}
		w.flush()
		select {
		case <-c.stop:
			w.err = errors.Join(w.err, c.drain(w, frame))
			w.flush()
			if err := errors.Join(w.err, file.Close()); err != nil {
				return fmt.Errorf("writing capture: %w", err)
			}
			return nil
		default:
		}
	}
}

// drain writes what has arrived but was not read yet.
func (c *Capture) drain(w *pcapWriter, frame []byte) error {
	raw, err := c.sock.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) {
		for {
			n, err := unix.Read(int(fd), frame)
			if err != nil {
				return
			}
			w.frame(frame[:n], time.Now())
		}
	})
}

// Stop ends the recording; the file is complete when it returns.
func (c *Capture) Stop() error {
	close(c.stop)
	return errors.Join(<-c.done, c.sock.Close())
}

// pcapWriter writes the classic format; the first error sticks.
type pcapWriter struct {
	w   *bufio.Writer
	err error
	buf []byte
}

func (w *pcapWriter) fileHeader() {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = le.AppendUint16(b, 2) // version 2.4
	b = le.AppendUint16(b, 4)
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(b, snapLen)
	b = le.AppendUint32(b, 1) // LINKTYPE_ETHERNET
	w.write(b)
}

func (w *pcapWriter) frame(frame []byte, at time.Time) {
	le := binary.LittleEndian
	kept := frame[:min(len(frame), snapLen)]
	b := le.AppendUint32(w.buf[:0], uint32(at.Unix()))
	b = le.AppendUint32(b, uint32(at.Nanosecond()/1000))
	b = le.AppendUint32(b, uint32(len(kept)))
	b = le.AppendUint32(b, uint32(len(frame)))
	w.buf = append(b, kept...)
	w.write(w.buf)
}

func (w *pcapWriter) write(b []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(b)
	}
}

func (w *pcapWriter) flush() {
	if w.err == nil {
		w.err = w.w.Flush()
	}
}

// Capture records everything that passes the link into an evidence file.
func (k *Link) Capture(file string) (*Capture, error) {
	return k.lab.capture(k.name, k.lab.Path(file))
}
