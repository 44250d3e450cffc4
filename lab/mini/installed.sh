#!/bin/sh
# The first process of the installed system: it tells bootd that it is up, says so, and stays.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -o remount,rw /
hostname -F /etc/hostname
echo "mini: the installed system of $(hostname) is up"
. /etc/network.sh
if [ -s /etc/bootd-first-boot ]; then
	tries=0
	until wget -q -O /dev/null "$(cat /etc/bootd-first-boot)"; do
		tries=$((tries + 1))
		if [ $tries -gt 10 ]; then
			echo "mini: FAILED: bootd does not take the first boot"
			break
		fi
		sleep 1
	done
	rm /etc/bootd-first-boot
fi
sync
echo "mini: $(hostname) runs from its disk"
while :; do sleep 3600; done
