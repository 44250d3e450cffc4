package lab

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// Files that Debian's packages bring.
const (
	IPXEKernel = "/usr/lib/ipxe/ipxe.lkrn"                                               // package ipxe
	IPXEUEFI   = "/usr/lib/ipxe/ipxe.efi"                                                // package ipxe
	SNPOnly    = "/usr/lib/ipxe/snponly.efi"                                             // package ipxe
	Installer  = "/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64" // debian-installer-12-netboot-amd64
	ovmfCode   = "/usr/share/OVMF/OVMF_CODE_4M.fd"                                       // package ovmf
	ovmfVars   = "/usr/share/OVMF/OVMF_VARS_4M.fd"                                       // package ovmf
)

// qemuArgs spells a machine as arguments of qemu-system-x86_64.
func (l *Lab) qemuArgs(m Machine, tap string) ([]string, error) {
	if m.MAC == "" || m.Name == "" {
		return nil, errors.New("describing a machine: name and MAC are needed")
	}
	hex := strings.ReplaceAll(m.MAC, ":", "")
	uuid, serial, nic, memory := m.UUID, m.Serial, m.NIC, m.Memory
	if uuid == "" {
		uuid = "564d0000-0000-4000-8000-" + hex
	}
	if serial == "" {
		serial = "SER-" + hex
	}
	if nic == "" {
		nic = "virtio-net-pci"
	}
	if memory == 0 {
		memory = 1024
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-vga", "none", "-no-reboot",
		"-m", fmt.Sprint(memory), "-uuid", uuid,
		"-smbios", "type=1,serial=" + serial + ",manufacturer=Lab,product=VM",
		"-device", "virtio-rng-pci",
		"-chardev", "stdio,id=s0,signal=off", "-serial", "chardev:s0",
		"-netdev", "tap,id=n0,ifname=" + tap + ",script=no,downscript=no",
	}
	args = append(args, accelArgs()...)
	device := nic + ",netdev=n0,mac=" + m.MAC + ",romfile="
	if m.Mode == UEFIPXE {
		device += ",bootindex=0"
	}
	args = append(args, "-device", device)
	more, err := l.modeArgs(m)
	if err != nil {
		return nil, fmt.Errorf("describing machine %s: %w", m.Name, err)
	}
	if m.Disk != "" {
		args = append(args,
			"-drive", "if=none,id=d0,format=raw,cache=unsafe,discard=unmap,file="+m.Disk,
			"-device", "virtio-blk-pci,drive=d0,bootindex=1")
	}
	return append(append(args, more...), m.Extra...), nil
}

// accelArgs chooses between hardware and emulation.
func accelArgs() []string {
	if Accelerator() == "kvm" {
		return []string{"-accel", "kvm", "-cpu", "host"}
	}
	// The fewer features a guest's kernel finds, the fewer it sets up: qemu64
	// reaches user space in 6 s where "max" needs 9.
	return []string{"-accel", "tcg,tb-size=512", "-cpu", "qemu64"}
}

func (l *Lab) modeArgs(m Machine) ([]string, error) {
	const bios = "pc,graphics=off,hpet=off,usb=off,vmport=off"
	switch m.Mode {
	case BIOSKernel:
		args := []string{"-machine", bios, "-kernel", m.Kernel}
		if m.Initrd != "" {
			args = append(args, "-initrd", m.Initrd)
		}
		if m.Append != "" {
			args = append(args, "-append", m.Append)
		}
		return args, needFiles(m.Kernel, m.Initrd)
	case BIOSDisk:
		return []string{"-machine", bios, "-boot", "c"}, nil
	case UEFIPXE, UEFIDisk:
		vars := l.Path(m.Name + ".vars.fd")
		if err := copyFile(vars, ovmfVars); err != nil {
			return nil, err
		}
		return []string{
			"-machine", "q35",
			"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=" + ovmfCode,
			"-drive", "if=pflash,format=raw,unit=1,file=" + vars,
			// OVMF would try PXE over IPv4 first, for a minute.
			"-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n",
		}, needFiles(ovmfCode)
	default:
		return nil, fmt.Errorf("unknown mode %d", m.Mode)
	}
}

func needFiles(paths ...string) error {
	for _, p := range paths {
		if p == "" {
			continue
		}
		if _, err := os.Stat(p); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w (scripts/deps.sh demo installs the packages)", err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(to, from string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copying: %w", err)
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if _, err := io.Copy(dst, src); err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	return nil
}
