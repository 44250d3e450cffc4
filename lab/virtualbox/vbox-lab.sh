#!/bin/sh
# vbox-lab.sh up | boot HOST [bios|efi|pxe] | down - a rack of VirtualBox machines on a host-only network without IPv4.
#
#   up                   make the network, give the host its IPv6 address, start bootd there
#   boot HOST [bios]     make the machine of that host of the inventory, and start it from bootd.iso by BIOS
#   boot HOST efi        ... from bootd.iso by UEFI
#   boot HOST pxe        ... by UEFI from the network, without a medium
#   down                 switch the machines off and delete them, stop bootd, remove the network
#
# Each may be run again: what is there already is left alone. docs/virtualbox.md says more. From the environment:
#   VBOX_INTERFACE (vboxnet0), VBOX_ADDRESS (2001:db8:1::1/64): as the inventory has them
#   VBOX_INVENTORY (inventory.yaml beside this script), VBOX_DIR (build/vbox): machines, consoles, bootd's state
#   VBOX_ISO (build/ipxe/bootd.iso: make ipxe), VBOX_MEMORY (2048) and VBOX_DISK (8192), MiB
#   BOOTD (bin/bootd: make build), VBOXMANAGE (VBoxManage), SUDO (sudo, unless you are root)
#   VBOX_DRY_RUN=1 prints what would be run, and runs only what asks
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
vbox=${VBOXMANAGE:-VBoxManage}
bootd=${BOOTD:-$root/bin/bootd}
dir=${VBOX_DIR:-$root/build/vbox}
inventory=${VBOX_INVENTORY:-$here/inventory.yaml}
iso=${VBOX_ISO:-$root/build/ipxe/bootd.iso}
interface=${VBOX_INTERFACE:-vboxnet0}
address=${VBOX_ADDRESS:-2001:db8:1::1/64}
networks=${VBOX_NETWORKS_CONF:-/etc/vbox/networks.conf} # for tests
dry=${VBOX_DRY_RUN:-}
if [ "$(id -u)" = 0 ]; then sudo=${SUDO-}; else sudo=${SUDO-sudo}; fi

say() { printf 'vbox-lab: %s\n' "$*"; }
die() { printf 'vbox-lab: %s\n' "$*" >&2; exit 1; }
usage() { sed -n 's/^# \(vbox-lab.sh up .*\) - .*/usage: \1/p' "$0" >&2; exit 2; }

have_vbox() { command -v "$vbox" >/dev/null 2>&1; }

# run changes something; a dry run prints it, quoted so that a shell would take it.
run() {
	if [ -z "$dry" ]; then
		"$@"
		return
	fi
	line=
	for word; do
		case $word in
		*[!A-Za-z0-9_./:=,@%+-]* | '') word="'$word'" ;;
		esac
		line="$line $word"
	done
	printf '+%s\n' "$line"
}

# as_root runs with root's rights.
as_root() { if [ -n "$sudo" ]; then run "$sudo" "$@"; else run "$@"; fi; }

# ask only reads; a dry run without VirtualBox finds nothing made yet.
ask() { if have_vbox; then "$vbox" "$@"; fi; }

# need_vbox: the program, and the driver that host-only networks and machines need.
need_vbox() {
	[ -z "$dry" ] || return 0
	have_vbox || die "$vbox is missing: install VirtualBox 7 (https://www.virtualbox.org/wiki/Downloads), or say where it is with VBOXMANAGE"
	[ -c "${VBOX_DRIVER:-/dev/vboxdrv}" ] || die 'VirtualBox is installed, but its kernel driver is not loaded: modprobe vboxdrv vboxnetadp vboxnetflt (or /sbin/vboxconfig, which builds them)'
}

# allowed ADDRESS FILE: whether a line "* RANGE..." of networks.conf holds the address. Without the file, VirtualBox 6.1.28
# and newer takes link-local IPv6 addresses only.
allowed() {
	[ -r "$2" ] || return 1
	awk -v want="${1%/*}" '
		function bits(address,   half, left, right, n, m, i, all, digit) {
			n = 0; m = 0
			if (split(address, half, "::") > 1 || address ~ /::$/) {
				if (half[1] != "") n = split(half[1], left, ":")
				if (half[2] != "") m = split(half[2], right, ":")
			} else n = split(address, left, ":")
			all = ""
			for (i = 1; i <= n; i++) all = all word(left[i])
			for (i = n + m; i < 8; i++) all = all word("0")
			for (i = 1; i <= m; i++) all = all word(right[i])
			return all
		}
		function word(hex,   i, out) {
			hex = tolower(substr("0000" hex, length(hex) + 1))
			out = ""
			for (i = 1; i <= 4; i++) out = out nibble[substr(hex, i, 1)]
			return out
		}
		BEGIN {
			split("0000 0001 0010 0011 0100 0101 0110 0111 1000 1001 1010 1011 1100 1101 1110 1111", b, " ")
			for (i = 0; i < 16; i++) nibble[substr("0123456789abcdef", i + 1, 1)] = b[i + 1]
		}
		$1 == "*" {
			for (f = 2; f <= NF; f++) {
				if (split($f, range, "/") < 2) range[2] = 128
				if ($f ~ /:/ && substr(bits(range[1]), 1, range[2]) == substr(bits(want), 1, range[2])) found = 1
			}
		}
		END { exit !found }' "$2"
}

has_interface() { ask list hostonlyifs | grep -q "^Name: *$interface\$"; }

network() {
	! have_vbox || allowed "$address" "$networks" ||
		die "VirtualBox refuses $address: write the line '* ${address%::*}::/${address#*/}' into $networks (a file of root's; once it exists, IPv4 ranges in use need a line too)"
	if has_interface; then
		[ -e "$dir/interface" ] || [ -n "${VBOX_ADOPT:-}" ] ||
			die "$interface exists already and was not made by this script: name another in the inventory and in VBOX_INTERFACE, or set VBOX_ADOPT=1 to use it (its IPv4 address goes)"
	elif [ -n "$dry" ]; then
		run "$vbox" hostonlyif create
	else
		made=$("$vbox" hostonlyif create | sed -n "s/^Interface '\(.*\)' was successfully created.*/\1/p")
		if [ "$made" != "$interface" ]; then
			[ -z "$made" ] || "$vbox" hostonlyif remove "$made"
			die "VirtualBox calls its next interface '$made', not $interface: write that into the inventory, and VBOX_INTERFACE=$made"
		fi
	fi
	run mkdir -p "$dir"
	[ -n "$dry" ] || echo "$interface" >"$dir/interface"
	# Before the address: VirtualBox would answer DHCPv4 there.
	if [ -n "$dry" ] || ask list dhcpservers | grep -q "^NetworkName: *HostInterfaceNetworking-$interface\$"; then
		run "$vbox" dhcpserver remove --interface="$interface"
	fi
	run "$vbox" hostonlyif ipconfig "$interface" --ipv6="${address%/*}" --netmasklengthv6="${address#*/}"
	# VirtualBox gives every new one an IPv4 address and has no word to take it away.
	as_root ip -4 address flush dev "$interface"
	as_root ip link set "$interface" up
}

running() { [ -z "$dry" ] && as_root "$bootd" status --run "$dir/state" --state "$dir/state" >/dev/null 2>&1; }

up() {
	need_vbox
	[ -x "$bootd" ] || die "$bootd is missing: make build"
	"$bootd" check "$inventory" >&2 || die "correct $inventory first"
	network
	if running; then
		say 'bootd runs already'
	elif [ -n "$dry" ]; then
		as_root "$bootd" serve --inventory "$inventory" --state "$dir/state" --run "$dir/state"
	else
		$sudo "$bootd" serve --inventory "$inventory" --state "$dir/state" --run "$dir/state" >>"$dir/bootd.log" 2>&1 &
		tries=0
		until running; do
			tries=$((tries + 1))
			if [ $tries -gt 100 ] || ! kill -0 $! 2>/dev/null; then die "bootd does not start: $(tail -n 3 "$dir/bootd.log")"; fi
			sleep 0.1
		done
	fi
	say "bootd serves ${address} on $interface; log: $dir/bootd.log"
}

# value KEY, from bootd explain --json on standard input: the first of that name, or the one of "values".
value() { sed -n "s/^ *\"$1\": \"\(.*\)\",*\$/\1/p" | head -n 1; }

exists() { ask list vms | grep -q "^\"$1\" "; }
is_running() { ask list runningvms | grep -q "^\"$1\" "; }

# machine NAME MAC UUID FIRMWARE: made once; what it starts from is set each time.
machine() {
	exists "$1" && return 0
	run "$vbox" createvm --name "$1" --ostype Debian_64 --basefolder "$dir" --register
	run "$vbox" modifyvm "$1" --memory "${VBOX_MEMORY:-2048}" --cpus 1 --rtcuseutc on --graphicscontroller vmsvga --audio-driver none
	run "$vbox" modifyvm "$1" --nic1 hostonly --hostonlyadapter1 "$interface" --nictype1 82540EM --macaddress1 "$(echo "$2" | tr -d :)" --cableconnected1 on
	[ -z "$3" ] || run "$vbox" modifyvm "$1" --hardwareuuid "$3"
	run "$vbox" modifyvm "$1" --uart1 0x3F8 4 --uartmode1 file "$dir/$1.console"
	run "$vbox" createmedium disk --filename "$dir/$1/$1.vdi" --size "${VBOX_DISK:-8192}"
	run "$vbox" storagectl "$1" --name SATA --add sata --controller IntelAhci --portcount 2
	run "$vbox" storageattach "$1" --storagectl SATA --port 0 --device 0 --type hdd --medium "$dir/$1/$1.vdi"
}

boot() {
	need_vbox
	host=${1:?} how=${2:-bios} name=bootd-$1
	case $how in
	bios | efi | pxe) ;;
	*) usage ;;
	esac
	facts=$("$bootd" explain --json --inventory "$inventory" "$host") || die "$host is not in $inventory"
	mac=$(echo "$facts" | value mac)
	uuid=$(echo "$facts" | grep -A 1 '"key": "uuid"' | value value)
	[ -n "$mac" ] || die "$host has no MAC in $inventory"
	if is_running "$name"; then
		say "$name runs already"
		return
	fi
	run mkdir -p "$dir"
	machine "$name" "$mac" "$uuid"
	firmware=efi first=dvd medium=$iso
	[ "$how" != bios ] || firmware=bios
	[ "$how" != pxe ] || { first=net medium=emptydrive; }
	[ "$how" = pxe ] || [ -r "$iso" ] || [ -n "$dry" ] || die "$iso is missing: make ipxe"
	run "$vbox" modifyvm "$name" --firmware "$firmware" --boot1 "$first" --boot2 disk --boot3 none --boot4 none
	run "$vbox" storageattach "$name" --storagectl SATA --port 1 --device 0 --type dvddrive --medium "$medium"
	run "$vbox" startvm "$name" --type headless
	say "$name ($mac) starts; its serial console: $dir/$name.console"
}

# off NAME: power off takes a moment, and until then VirtualBox keeps the machine locked.
off() {
	is_running "$1" || return 0
	run "$vbox" controlvm "$1" poweroff
	[ -z "$dry" ] || return 0
	tries=0
	while is_running "$1"; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || die "$1 does not switch off"
		sleep 0.1
	done
}

down() {
	need_vbox
	# Only machines that lie below our own directory: a name proves nothing.
	for name in $(ask list vms | sed -n 's/^"\(bootd-[A-Za-z0-9.-]*\)" .*/\1/p'); do
		ask showvminfo "$name" --machinereadable | grep -q "^CfgFile=\"$dir/" || continue
		off "$name"
		run "$vbox" unregistervm "$name" --delete
	done
	if running || [ -n "$dry" ]; then
		as_root "$bootd" stop --run "$dir/state" --state "$dir/state"
	fi
	if has_interface && [ -e "$dir/interface" ]; then
		run "$vbox" hostonlyif remove "$interface"
	fi
	run rm -f "$dir/interface"
	say "down; consoles, bootd's log and state stay in $dir"
}

case ${1:-} in
up) [ $# = 1 ] || usage; up ;;
boot) [ $# = 2 ] || [ $# = 3 ] || usage; shift; boot "$@" ;;
down) [ $# = 1 ] || usage; down ;;
*) usage ;;
esac
