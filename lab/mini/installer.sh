#!/bin/sh
# installer.sh URL: fetch the answers, do what they say, reboot. Debian's installer in small.
echo "mini: the installer is up"
. /network.sh
mkdir -p /tmp/bootd
wget -q -O /tmp/bootd/answers "$1" || {
	echo "mini: FAILED: no answers"
	exec poweroff -f
}
for name in lib guard; do
	sed -n "/^#= $name\$/,/^#=\$/s/^#|//p" /tmp/bootd/answers >/tmp/bootd/$name
done
. /tmp/bootd/lib
. /tmp/bootd/guard
. /tmp/bootd/answers

# die_at STAGE: where a test wants an installation that is never heard of again.
die_at() {
	[ "$die" != "$1" ] || {
		echo "mini: dead at $1, as told"
		sync
		exec poweroff -f
	}
}

say "installing $host"
progress answers
guard
disk=$DEV/$disk
say "installing on $disk"
progress partman
die_at disk

# A DOS label serves both firmwares: an EFI system partition, and room before it for GRUB of the BIOS kind. The disk's
# identifier is part of the path that a UEFI boot entry holds. The sectors are said outright: fdisk would put the second
# partition into the room before the first, and firmware takes a FAT32 of less than 33 MB for broken.
part=$disk
case $disk in *[0-9]) part=${disk}p ;; esac
dd if=/dev/zero of="$disk" bs=1M count=1 2>/dev/null
printf 'o\nn\np\n1\n2048\n133119\nt\nef\nn\np\n2\n133120\n\na\n2\nw\n' | fdisk "$disk" >/dev/null 2>&1
dd if=/dev/urandom of="$disk" bs=1 seek=440 count=4 conv=notrunc 2>/dev/null
blockdev --rereadpt "$disk" 2>/dev/null
mdev -s
[ -b "${part}2" ] || stop "$disk could not be partitioned"
mkdosfs -n EFI "${part}1" >/dev/null || stop "no EFI system partition"
mke2fs -L bootd-mini "${part}2" >/dev/null 2>&1 || stop "no file system"
mkdir -p /target
mount -t ext4 "${part}2" /target || stop "the file system cannot be mounted"
progress base
wget -q -O - "$root" | tar -x -C /target || stop "the system could not be unpacked"
die_at unpack

progress packages
dd if=/target/boot/grub/core.img of="$disk" bs=512 seek=1 conv=notrunc 2>/dev/null
dd if=/target/boot/grub/boot.img of="$disk" bs=440 count=1 conv=notrunc 2>/dev/null
cat >/target/boot/grub/grub.cfg <<END
serial --unit=0 --speed=115200
terminal_output serial
set timeout=0
menuentry mini {
	echo "mini: GRUB starts the installed system of $host"
	linux /boot/vmlinuz bootd.root=${part}2 mitigations=off loglevel=4 console=$console
	initrd /boot/initrd.gz
}
END
echo "$host" >/target/etc/hostname
echo "$first_boot" >/target/etc/bootd-first-boot
chmod 600 /target/etc/bootd-first-boot
mkdir -p /target/efi
mount -t vfat "${part}1" /target/efi || stop "the EFI system partition cannot be mounted"
mkdir -p /target/efi/EFI/mini
cp /target/boot/grub/grubx64.efi /target/efi/EFI/mini/

# firmware: a boot entry for the new system, behind the network entry that booted the installer.
firmware() {
	for dir in proc sys dev; do mount -o bind /$dir /target/$dir; done
	mount -t efivarfs efivarfs /target/sys/firmware/efi/efivars || return 1
	for old in $(chroot /target efibootmgr | sed -n 's/^Boot\([0-9A-F]\{4\}\)[* ] mini\(\t.*\)*$/\1/p'); do
		chroot /target efibootmgr -q -b "$old" -B
	done
	now=$(chroot /target efibootmgr | sed -n 's/^BootCurrent: *//p')
	chroot /target efibootmgr -q -c -d "$disk" -p 1 -L mini -l '\EFI\mini\grubx64.efi' || return 1
	order=$(chroot /target efibootmgr | sed -n 's/^BootOrder: *//p')
	rest=$(echo "$order" | tr ',' '\n' | grep -v -x "$now" | tr '\n' ',')
	chroot /target efibootmgr -q -o "$now,${rest%,}" || return 1
	chroot /target efibootmgr
	umount /target/sys/firmware/efi/efivars
	for dir in dev sys proc; do umount /target/$dir; done
}
if [ -d /sys/firmware/efi ]; then firmware || stop "the boot order could not be set"; fi
progress finish
umount /target/efi
die_at finish
umount /target
sync
tell "$installed" || stop "bootd does not take that this is installed"
say "installed $host"
exec reboot -f
