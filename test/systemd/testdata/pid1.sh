#!/bin/sh
# pid1.sh INSTALLED INVENTORY EVIDENCE DROPINS - process 1 of new PID, mount, network, cgroup, IPC and UTS namespaces: furnishes
# them, installs bootd's unit the way docs/install.md says, and becomes systemd, which runs drive.sh.
set -eu
installed=$1 inventory=$2 evidence=$3 drop_ins=$4

mount --make-rprivate /
mount --bind "$installed/usr/local" /usr/local
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir -p /run/etc/upper /run/etc/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work overlay /etc

# A tree of control groups of its own, of the kind that the machine uses.
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t sysfs sysfs /sys
if grep -q '^0::/' /proc/self/cgroup && ! grep -q name=systemd /proc/self/cgroup; then
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
	mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
	mkdir /sys/fs/cgroup/systemd
	mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
fi

ip link set lo up
ip link add eth1 type veth peer name cable
ip link set cable up
ip link set eth1 up
ip -6 address add 2001:db8:1::1/64 dev eth1 nodad

rm -rf /etc/systemd/system /etc/bootd
mkdir -p /etc/systemd/system/bootd.service.d /etc/bootd/files
systemd-sysusers /usr/local/lib/sysusers.d/bootd.conf
cp "$inventory" /etc/bootd/inventory.yaml
echo "a boot loader" >/etc/bootd/files/ipxe.efi

# Nothing of the machine's own units: one target, bootd, and the driver.
cat >/etc/systemd/system/bootd.service.d/test.conf <<EOF
[Unit]
DefaultDependencies=no
[Service]
StandardOutput=append:$evidence/bootd.log
StandardError=append:$evidence/bootd.log
EOF
cat >/etc/systemd/system/drive.target <<EOF
[Unit]
Wants=drive.service
EOF
cat >/etc/systemd/system/drive.service <<EOF
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=$(realpath "$(dirname "$0")")/drive.sh $evidence $drop_ins
ExecStopPost=/bin/systemctl exit --force --force
StandardOutput=append:$evidence/drive
StandardError=append:$evidence/drive.err
EOF
export container=lxc
exec /lib/systemd/systemd --system --unit=drive.target --log-target=console --show-status=no
