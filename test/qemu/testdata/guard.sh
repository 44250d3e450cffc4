#!/bin/sh
# The first process of the guard test: Debian's installer as far as its disk guard, once as each of several machines.
export PATH=/guard:/sbin:/bin:/usr/sbin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /run /tmp /hd-media
exec </dev/console >/dev/console 2>&1
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
/lib/systemd/systemd-udevd --daemon --resolve-names=never
udevadm trigger --action=add
tries=0
until [ "$(ls -d /sys/block/sd? 2>/dev/null | wc -l)" = "$disks" ] && [ -n "$nic" ]; do
	udevadm settle
	nic=$(ls /sys/class/net | grep -v '^lo$' | head -n 1)
	tries=$((tries + 1))
	if [ $tries -gt 30 ]; then
		echo "guard test: missing: $(ls /sys/block) $nic"
		poweroff -f
	fi
	sleep 1
done
udevadm settle
for disk in /sys/block/sd?; do # the stick that it booted from, as the installer mounts it
	if [ -d "$disk/${disk##*/}1" ]; then mount -t vfat -o ro "/dev/${disk##*/}1" /hd-media; fi
done
echo "guard test: mounted $(ls /hd-media)"

# as NAME MAC: become that machine, fetch its answers as iPXE and the installer do, and run its guard.
as() {
	ip link set "$nic" down
	ip link set "$nic" address "$2"
	ip link set "$nic" up
	n=0
	until ip -6 addr show dev "$nic" | grep -q 2001:db8; do
		n=$((n + 1))
		[ $n -lt 30 ] || break
		sleep 1
	done
	rm -rf /tmp/bootd
	mkdir -p /tmp/bootd
	url=$(wget -q -O - 'http://[2001:db8:1::1]/boot.ipxe' | sed -n 's/.* url=\([^?]*\)?.*/\1/p')
	wget -q -O /tmp/bootd/answers "$url" || echo "guard test: no answers for $1: $url"
	for f in lib guard; do sed -n "/^#= $f$/,/^#=$/s/^#|//p" /tmp/bootd/answers >/tmp/bootd/$f; done
	echo "guard test: $1 begins"
	BOOTD_TEST=1 sh /tmp/bootd/guard
	echo "guard test: $1 ends with $?"
}

for machine in $machines; do
	as "${machine%%,*}" "${machine#*,}"
done
umount /hd-media
echo "guard test: done"
sync
poweroff -f
