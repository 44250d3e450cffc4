#!/bin/sh
# The first process of the stand-in installer and of what it installs: modules, then whichever of the two it is to be.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
while read -r module; do
	insmod "/lib/modules/$module.ko" || echo "mini: module $module was not loaded"
done </lib/modules/order
for word in $(cat /proc/cmdline); do
	case $word in
	bootd.answers=*) answers=${word#*=} ;;
	bootd.root=*) root=${word#*=} ;;
	esac
done
[ -z "$answers" ] || exec /bin/sh /installer.sh "$answers"
mkdir -p /new
mount -t ext4 -o ro "$root" /new || exec poweroff -f
umount /proc /sys
mount -o move /dev /new/dev
exec switch_root /new /sbin/init
