package netif

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// bell rings once when packets wait on a socket, and not again before somebody waits for it. The runtime's own poller is woken by
// each packet that arrives, also while nobody waits for one; in a crowd that costs more than all that is done with the packets. So
// the socket is watched by an epoll instance that falls silent after each event (EPOLLONESHOT, epoll_ctl(2)), and the runtime
// watches that. It belongs to one goroutine, but for Close.
type bell struct {
	file  *os.File
	conn  syscall.RawConn
	armed bool
}

// newBell watches a socket that the runtime's poller does not know: a blocking one.
func newBell(fd int) (*bell, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("creating epoll instance: %w", err)
	}
	b := &bell{}
	err = errors.Join(unix.SetNonblock(epoll, true), unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{}))
	b.file = os.NewFile(uintptr(epoll), "epoll")
	if err == nil {
		b.conn, err = b.file.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watching packet socket: %w", err), b.file.Close())
	}
	return b, nil
}

// wait returns when something can be read from fd, be it an error. Errors: Close, a deadline of the file.
func (b *bell) wait(fd int) error {
	var ctlErr error
	err := b.conn.Read(func(epoll uintptr) bool {
		if !b.armed {
			ctlErr = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT})
			if ctlErr != nil {
				return true
			}
			b.armed = true
		}
		var events [1]unix.EpollEvent
		n, err := unix.EpollWait(int(epoll), events[:], 0)
		if err != nil && !again(err) {
			ctlErr = err
			return true
		}
		b.armed = n == 0
		return n > 0
	})
	return errors.Join(err, ctlErr)
}

// Close ends a wait.
func (b *bell) Close() error { return b.file.Close() }
