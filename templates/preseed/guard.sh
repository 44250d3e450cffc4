# The disk guard for Debian's installer: what it finds goes to debconf.
. "${BOOTD_DIR:-/tmp/bootd}/lib"
{{include "guard/disk.sh" . -}}

guard
say "installing on $disk"
{
	echo "d-i partman-auto/disk string $DEV/$disk"
	echo "d-i grub-installer/bootdev string $DEV/$disk"
	echo "d-i partman/confirm boolean true"
	echo "d-i partman/confirm_nooverwrite boolean true"
} >"$DIR/disk.cfg"
debconf-set-selections "$DIR/disk.cfg" || stop "the installer did not take the disk"
progress partman
true
