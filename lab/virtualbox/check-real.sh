#!/bin/sh
# check-real.sh CHROOT - runs the VBoxManage lines of vbox-lab.sh that need no kernel driver with the real VBoxManage 7 in
# a chroot, and compares what VirtualBox then says of the machines. As root; leaves the chroot as it was. `make ipxe` first. To make one:
#
#   mmdebstrap --variant=extract --include=virtualbox,virtualbox-source,bash,coreutils,libc-bin sid CHROOT \
#       'deb MIRROR sid main contrib'
set -eu

here=$(cd "$(dirname "$0")" && pwd)
if [ "${2:-}" != inside ]; then
	if [ $# != 1 ] || [ ! -x "$1/usr/lib/virtualbox/VBoxManage" ]; then
		sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
		exit 2
	fi
	# VirtualBox's own server ends with the PID namespace.
	exec unshare --pid --fork --kill-child --mount --mount-proc --net "$0" "$(cd "$1" && pwd)" inside
fi

VBOX_CHROOT=$1
export VBOX_CHROOT
mount --make-rprivate /
mount -t tmpfs -o mode=1777 tmpfs "$VBOX_CHROOT/tmp"
mount -t tmpfs -o mode=700 tmpfs "$VBOX_CHROOT/root"
mount -t proc proc "$VBOX_CHROOT/proc"
mount --rbind /dev "$VBOX_CHROOT/dev"
dir=$(mktemp -d) # the same path inside and outside
trap 'umount "$dir"; rmdir "$dir"' EXIT
mkdir -p "$VBOX_CHROOT$dir"
mount --bind "$VBOX_CHROOT$dir" "$dir"
cp "$here/../../build/ipxe/bootd.iso" "$dir/" # make ipxe
HOME=/root
VBOXMANAGE=$here/testdata/VBoxManage-chroot VBOX_DRIVER=/dev/null VBOX_DIR=$dir VBOX_ISO=$dir/bootd.iso
export HOME VBOXMANAGE VBOX_DRIVER VBOX_DIR VBOX_ISO

"$VBOXMANAGE" --version
for args in 'r1n01 bios' 'r1n02 efi' 'r1n02 pxe'; do
	# shellcheck disable=SC2086
	"$here/vbox-lab.sh" boot $args
done
for name in bootd-r1n01 bootd-r1n02; do
	"$VBOXMANAGE" showvminfo "$name" --machinereadable | sed "s|$dir|DIR|g" |
		grep -E '^(name|hardwareuuid|firmware|boot[1-4]|memory|nic1|nictype1|macaddress1|hostonlyadapter1|uart1|uartmode1|"SATA-[01]-0"|CfgFile)='
done >"$dir/machines"
"$here/vbox-lab.sh" down
"$VBOXMANAGE" list vms
diff -u "$here/testdata/machines.txt" "$dir/machines" && echo 'check-real: all as expected'
