# The end of the installation: network, accounts, boot order, callbacks.
. "${BOOTD_DIR:-/tmp/bootd}/lib"
NET=${BOOTD_NET:-$SYS/class/net}

# put FILE MODE: standard input becomes a file of the new system.
put() {
	mkdir -p "$TARGET${1%/*}"
	cat >"$TARGET$1" && chmod "$2" "$TARGET$1"
}

# card MAC: the name of the interface that has it.
card() {
	for path in "$NET"/*; do
		if [ "$(cat "$path/address" 2>/dev/null)" = "$1" ] && [ "${path##*/}" != lo ]; then
			echo "${path##*/}"
			return
		fi
	done
}

# static MAC ADDRESS/LENGTH...: a card with fixed addresses. Its default route comes from router advertisements.
static() {
	name=$(card "$1")
	[ -n "$name" ] || return 0
	printf '\nauto %s\n' "$name"
	shift
	for address in "$@"; do
		printf 'iface %s inet6 static\n\taddress %s\n\tautoconf 0\n\taccept_ra 2\n' "$name" "$address"
	done
}

# slaac MAC: a card that takes its address from router advertisements.
slaac() {
	name=$(card "$1")
	[ -n "$name" ] || return 0
	printf '\nauto %s\niface %s inet6 auto\n\taccept_ra 2\n' "$name" "$name"
}

interfaces() {
	printf '# written by bootd at installation\nauto lo\niface lo inet loopback\n'
{{- $slaac := eq .Addressing "slaac"}}
{{- range .NICs}}
{{- if or $slaac (not .Addresses)}}
	slaac {{.MAC}}
{{- else}}
	static {{.MAC}}{{range .Addresses}} {{.}}{{end}}
{{- end}}
{{- end}}
}

resolver() {
{{- with .Search}}
	echo {{printf "search %s" (join " " .) | shell}}
{{- end}}
{{- range .Nameservers}}
	echo {{printf "nameserver %s" . | shell}}
{{- end}}
	true
}

# account NAME HASH SUDO: hash ! means that no password fits; such a user needs none for sudo.
account() {
	in-target useradd --create-home --shell /bin/bash "$1" || return 1
	echo "$1:$2" | chroot "$TARGET" chpasswd -e || return 1
	[ "$3" = true ] || return 0
	in-target usermod --append --groups sudo "$1" || return 1
	[ "$2" != '!' ] || echo "$1 ALL=(ALL:ALL) NOPASSWD: ALL" | put "/etc/sudoers.d/bootd-$1" 440
}

# keys NAME: standard input becomes the keys that may log in as NAME.
keys() {
	home=$(sed -n "s/^$1:\([^:]*:\)\{4\}\([^:]*\):.*/\2/p" "$TARGET/etc/passwd")
	[ -n "$home" ] || return 1
	put "$home/.ssh/authorized_keys" 600 || return 1
	chmod 700 "$TARGET$home/.ssh"
	chroot "$TARGET" chown -R "$1:" "$home/.ssh"
}

accounts() {
{{- $rootlogin := "no"}}
{{- range .Users}}
{{- if ne .Name "root"}}
	account {{shell .Name}} {{if .Password}}{{shell .Password}}{{else}}'!'{{end}} {{.Sudo}} || return 1
{{- else if .SSHKeys}}{{$rootlogin = "prohibit-password"}}
{{- end}}
{{- if .SSHKeys}}
	printf '%s\n'{{range .SSHKeys}} {{shell .}}{{end}} | keys {{shell .Name}} || return 1
{{- end}}
{{- end}}
	echo 'PermitRootLogin {{$rootlogin}}' | put /etc/ssh/sshd_config.d/bootd.conf 644
}

# bootorder: firmware keeps asking the network first, else bootd could never install this machine again.
bootorder() {
	[ -d "$SYS/firmware/efi" ] || return 0
	[ -x "$TARGET/usr/bin/efibootmgr" ] || [ -x "$TARGET/bin/efibootmgr" ] || apt-install efibootmgr
	# What installed GRUB has taken its mounts away again.
	vars=$TARGET/sys/firmware/efi/efivars mounted=
	if [ ! -d "${vars%/*}" ]; then
		mount -t sysfs sysfs "$TARGET/sys" && mounted=$TARGET/sys
	fi
	if [ -d "$vars" ] && [ -z "$(ls "$vars")" ]; then
		mount -t efivarfs efivarfs "$vars" && mounted="$vars $mounted"
	fi
	have=$(chroot "$TARGET" efibootmgr -v)
	order=$(echo "$have" | sed -n 's/^BootOrder: *//p' | tr ',' ' ')
	current=$(echo "$have" | sed -n 's/^BootCurrent: *//p')
	# One network entry comes first, and only one: further ones would be tried before the disk. It is the one that booted
	# us, or else the first for IPv6.
	first=
	if echo "$have" | grep -q "^Boot$current.*MAC("; then first=$current; fi
	for entry in $order; do
		[ -z "$first" ] || break
		if echo "$have" | grep -q "^Boot$entry.*MAC(.*IPv6("; then first=$entry; fi
	done
	if [ -z "$order" ]; then
		say "the boot order could not be read"
	elif [ -z "$first" ]; then
		say "firmware has no network entry: the boot order stays"
	else
		new=$first
		for entry in $order; do
			[ "$entry" = "$first" ] || new=$new,$entry
		done
		chroot "$TARGET" efibootmgr -q -o "$new" || say "the boot order could not be set"
	fi
	for mounted in $mounted; do umount "$mounted"; done
}

# firstboot: a service that says once that the new system is up.
firstboot() {
	put /usr/local/sbin/bootd-first-boot 700 <<'END' || return 1
{{include "preseed/first-boot.sh" . -}}
END
	put /etc/systemd/system/bootd-first-boot.service 644 <<'END' || return 1
[Unit]
Description=Tell bootd that the installed system is up
ConditionPathExists=/usr/local/sbin/bootd-first-boot
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/bootd-first-boot

[Install]
WantedBy=multi-user.target
END
	mkdir -p "$TARGET/etc/systemd/system/multi-user.target.wants"
	ln -sf ../bootd-first-boot.service "$TARGET/etc/systemd/system/multi-user.target.wants/bootd-first-boot.service"
}

progress finish
interfaces | put /etc/network/interfaces 644 || stop "/etc/network/interfaces could not be written"
resolver | put /etc/resolv.conf 644 || stop "/etc/resolv.conf could not be written"
{{- with .NTP}}
printf '[Time]\nNTP=%s\n' {{join " " . | shell}} | put /etc/systemd/timesyncd.conf.d/bootd.conf 644
{{- end}}
accounts || stop "the accounts could not be made"
firstboot || stop "the first-boot service could not be written"
bootorder
tell {{shell .URL.Installed}} && say "installed"
true
