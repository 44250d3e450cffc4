# The disk guard: `guard` finds the one disk that the inventory names and puts its name (sda) into $disk, or stops before
# anything is written. It calls two functions of whoever includes it: say TEXT, and stop TEXT, which must not return.
SYS=${SYS:-/sys} DEV=${DEV:-/dev} MOUNTS=${BOOTD_MOUNTS:-/proc/mounts}
{{if not .HasDisk}}{{missing "disk"}}{{end -}}
serial={{shell .Disk.Serial}} byid={{shell .Disk.ByID}} model={{shell .Disk.Model}}
min={{.Disk.MinSize}} max={{.Disk.MaxSize}} wipe={{.Disk.Wipe}}

# trimmed: standard input without NULs and without blanks around lines.
trimmed() { tr -d '\000' | sed 's/^[[:space:]]*//; s/[[:space:]]*$//'; }

# file PATH: the text of a file of the kernel, nothing where there is none.
file() { if [ -r "$1" ]; then trimmed <"$1"; echo; fi; }

# property NAME|NAME...: what udev knows of the disk that is looked at.
property() { printf '%s\n' "$udev" | sed -n -E "s/^($1)=//p"; }

# among TEXT: is it one of the lines of standard input?
among() {
	while IFS= read -r line; do
		if [ "$line" = "$1" ]; then return 0; fi
	done
	return 1
}

serials() {
	file "$SYS/block/$1/serial"
	file "$SYS/block/$1/device/serial"
	if [ -r "$SYS/block/$1/device/vpd_pg80" ]; then # four octets of header, then the serial
		dd if="$SYS/block/$1/device/vpd_pg80" bs=4 skip=1 2>/dev/null | trimmed
		echo
	fi
	property 'ID_SERIAL_SHORT|ID_SERIAL|ID_SCSI_SERIAL'
}

models() {
	file "$SYS/block/$1/device/model"
	property ID_MODEL
}

octets() { echo $(($(cat "$SYS/block/$1/size") * 512)); }

# wanted DISK SERIALS MODELS: does everything that the inventory says of the disk hold?
wanted() {
	if [ -n "$serial" ]; then printf '%s\n' "$2" | among "$serial" || return 1; fi
	if [ -n "$model" ]; then printf '%s\n' "$3" | among "$model" || return 1; fi
	if [ -n "$byid" ]; then
		[ -e "$DEV/disk/by-id/$byid" ] || return 1
		[ "$(readlink -f "$DEV/disk/by-id/$byid")" = "$(readlink -f "$DEV/$1")" ] || return 1
	fi
	[ "$min" -eq 0 ] || [ "$(octets "$1")" -ge "$min" ] || return 1
	[ "$max" -eq 0 ] || [ "$(octets "$1")" -le "$max" ] || return 1
}

disks() {
	for path in "$SYS"/block/*; do
		case ${path##*/} in
		loop* | ram* | zram* | sr* | fd* | md* | dm-* | nbd* | mtd* | drbd* | bcache* | zd* | rbd*) continue ;;
		esac
		[ "$(cat "$path/hidden" 2>/dev/null)" != 1 ] || continue
		[ "$(cat "$path/size" 2>/dev/null || echo 0)" -gt 0 ] || continue
		echo "${path##*/}"
	done
}

# parts DISK: the disk and its partitions.
parts() {
	echo "$1"
	for path in "$SYS/block/$1/$1"*; do
		[ ! -d "$path" ] || echo "${path##*/}"
	done
}

# at PART OCTET COUNT: octets of a device. The offset is a multiple of the count.
at() { dd if="$DEV/$1" bs="$3" skip="$(($2 / $3))" count=1 2>/dev/null; }

# magic PART OCTET: are there the four octets of a Linux RAID superblock (a92b4efc, little-endian)? A superblock of version
# 0.90 is in the order of the machine that wrote it.
magic() {
	case $(at "$1" "$2" 4 | LC_ALL=C tr '\374\116\053\251\000' 'raid.') in
	raid | diar) return 0 ;;
	esac
	return 1
}

# signature PART: whose data it carries. blkid knows more, but not every installer has it.
signature() {
	sectors=$(cat "$SYS/block/$1/size" 2>/dev/null || cat "$SYS/block/$disk/$1/size")
	if at "$1" 0 2048 | tr -d '\000' | grep -q LABELONE; then echo LVM; fi
	for offset in 0 4096 $(((sectors - 16) / 8 * 4096)) $(((sectors / 128 - 1) * 65536)); do
		if [ "$offset" -ge 0 ] && magic "$1" "$offset"; then echo md; fi
	done
	if [ "$(at "$1" 0 22 | tr -d '\000')" = "bluestore block device" ]; then echo Ceph; fi
	if at "$1" 0 131072 | tr -d '\000' | grep -q vdev_tree; then echo ZFS; fi
	case $(blkid -p -s TYPE -o value "$DEV/$1" 2>/dev/null) in
	LVM2_member | LVM1_member) echo LVM ;;
	*_raid_member) echo md ;;
	ceph*) echo Ceph ;;
	zfs_member) echo ZFS ;;
	esac
}

# holders PART: what the kernel has built on it.
holders() { ls "$SYS/block/$disk/holders" "$SYS/block/$disk/$1/holders" 2>/dev/null | grep -v -e : -e '^$'; }

# release HOLDER: stop an array or a volume that stands on a disk which may be wiped.
release() {
	case $1 in
	md*) mdadm --stop "$DEV/$1" ;;
	dm-*) dmsetup remove --force "$(cat "$SYS/block/$1/dm/name")" ;;
	esac
} >/dev/null 2>&1

# clear PART: its first and last MiB, where signatures stand.
clear() {
	sectors=$(cat "$SYS/block/$1/size" 2>/dev/null || cat "$SYS/block/$disk/$1/size")
	dd if=/dev/zero of="$DEV/$1" bs=512 count="$((sectors < 2048 ? sectors : 2048))" conv=notrunc
	[ "$sectors" -le 2048 ] ||
		dd if=/dev/zero of="$DEV/$1" bs=512 seek="$((sectors - 2048))" count=2048 conv=notrunc
} 2>/dev/null

# guard: find the disk, put its name into $disk, and make it ready; or stop.
guard() {
	found= seen= newline='
'
	for d in $(disks); do
		udev=$(udevadm info --query=property --name="$DEV/$d" 2>/dev/null)
		s=$(serials "$d" | sed '/./!d') m=$(models "$d" | sed '/./!d')
		say "disk $d: serial ${s%%"$newline"*}, model ${m%%"$newline"*}, $(octets "$d") octets"
		seen="$seen $d"
		if wanted "$d" "$s" "$m"; then found="$found $d"; fi
	done
	rule="${serial:+ serial=$serial}${byid:+ by-id=$byid}${model:+ model=$model}"
	[ "$min" -eq 0 ] || rule="$rule min_size=$min"
	[ "$max" -eq 0 ] || rule="$rule max_size=$max"
	set -- $found
	case $# in
	0) stop "no disk matches$rule; there are:${seen:- none}" ;;
	1) disk=$1 ;;
	*) stop "$# disks match$rule:$found" ;;
	esac

	[ "$(cat "$SYS/block/$disk/removable" 2>/dev/null)" != 1 ] || stop "$disk is a removable medium"
	[ "$(cat "$SYS/block/$disk/ro" 2>/dev/null)" != 1 ] || stop "$disk cannot be written"
	case $(readlink -f "$SYS/block/$disk") in
	*/usb[0-9]*) [ -n "$serial$byid" ] || stop "$disk is on USB: name it by serial or by_id" ;;
	esac
	for p in $(parts "$disk"); do
		if grep -q "^$DEV/$p " "$MOUNTS"; then stop "$p is in use: it is the boot medium or mounted"; fi
	done

	for p in $(parts "$disk"); do
		has=$(signature "$p" | sort -u | tr '\n' ' ')
		if [ -n "$has" ] && [ "$wipe" != true ]; then stop "$p carries ${has% } data; disk.wipe is not set"; fi
		for h in $(holders "$p"); do
			if [ "$wipe" = true ]; then release "$h"; fi
		done
		busy=$(holders "$p" | tr '\n' ' ')
		if [ -n "$busy" ]; then stop "$p is in use by ${busy% }"; fi
	done
	if [ "$wipe" = true ]; then
		for p in $(parts "$disk" | sort -r); do
			if [ -n "$(signature "$p")" ]; then clear "$p"; fi
		done
		blockdev --rereadpt "$DEV/$disk" 2>/dev/null
	fi
}
