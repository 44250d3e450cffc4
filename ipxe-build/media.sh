#!/bin/sh
# media.sh [DIRECTORY] - boot media and served boot loaders, out of packaged iPXE.
#
# Makes in DIRECTORY (build/ipxe):
#   ipxe.efi snponly.efi ipxe-arm64.efi undionly.kpxe ipxe.lkrn   to be served
#   bootd.iso bootd.usb   BIOS and UEFI in one, with a script that asks for IPv6 alone
#   SOURCES SHA256SUMS    what it was made of, and what came out
#
# Nothing is compiled and no root is needed. iPXE comes from, the first that fits:
#   IPXE_DIR=DIR    a directory laid out as /usr/lib/ipxe of the package, such as your own build
#   /usr/lib/ipxe   if the package is of Debian 13 or newer
#   IPXE_SUITE      (trixie) that release's package, fetched by apt from the machine's own mirror into
#                   IPXE_CACHE (DIRECTORY/cache) and unpacked there; the system's own packages and lists stay as they are
#   /usr/lib/ipxe   of Debian 12, should there be no way to fetch one: its UEFI half finds no script on
#                   the medium and loses 15 seconds to DHCPv4, and there is no arm64
# IPXE_SUITE= (empty) never fetches. SOURCE_DATE_EPOCH: the time that files in the images bear.
set -eu

say() { printf 'media: %s\n' "$*"; }
die() { printf 'media: %s\n' "$*" >&2; exit 1; }

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/../build/ipxe}
mkdir -p "$out"
out=$(cd "$out" && pwd)
suite=${IPXE_SUITE-trixie}
caches=${IPXE_CACHE:-$out/cache}
packaged=${IPXE_PACKAGED:-/usr/lib/ipxe} # for tests
SYSLINUX=/usr/lib/syslinux ISOLINUX=/usr/lib/ISOLINUX

for tool in xorriso mformat mmd mcopy syslinux sfdisk sha256sum; do
	command -v "$tool" >/dev/null || die "$tool is missing: scripts/deps.sh media installs it"
done
for file in "$SYSLINUX/mbr/mbr.bin" "$SYSLINUX/modules/bios/ldlinux.c32" "$ISOLINUX/isolinux.bin" "$ISOLINUX/isohdpfx.bin"; do
	[ -r "$file" ] || die "$file is missing: scripts/deps.sh media installs it"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

# fetch SUITE puts the release's ipxe below the cache; a second run fetches nothing.
fetch() {
	cache=$caches/$1
	[ -r "$cache/usr/lib/ipxe/ipxe-amd64.efi" ] && return 0
	command -v apt-get >/dev/null || return 1
	key=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -r "$key" ] || return 1
	# shellcheck disable=SC2016
	mirror=${BOOTD_TEST_MIRROR:-$(apt-get indextargets --format '$(SITE) $(CODENAME) $(ORIGIN)' 'Created-By: Packages' 2>/dev/null |
		awk '$3 == "Debian" && $2 !~ /-/ {print $1; exit}')}
	[ -n "$mirror" ] || return 1
	apt=$work/apt
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/deb"
	: >"$apt/status"
	printf 'deb [signed-by=%s arch=amd64] %s %s main\n' "$key" "$mirror" "$1" >"$apt/sources.list"
	cat >"$apt/apt.conf" <<-EOF
		Dir::State "$apt"; Dir::State::lists "$apt/lists"; Dir::State::status "$apt/status"; Dir::Cache "$apt/cache";
		Dir::Etc::SourceList "$apt/sources.list"; Dir::Etc::SourceParts "/dev/null"; Dir::Etc::PreferencesParts "/dev/null";
		APT::Architecture "amd64"; APT::Architectures "amd64"; APT::Sandbox::User ""; Acquire::Languages "none"; Acquire::Retries "2";
		Acquire::http::Timeout "30"; Acquire::https::Timeout "30";
	EOF
	say "fetching ipxe of $1"
	# The package of another release is data here: it is unpacked, never installed.
	(
		cd "$apt/deb"
		APT_CONFIG=$apt/apt.conf
		export APT_CONFIG
		apt-get -qq update && apt-get -qq download ipxe && dpkg-deb -x ipxe_*.deb "$apt/root"
	) >&2 || return 1
	[ -r "$apt/root/usr/lib/ipxe/ipxe-amd64.efi" ] || return 1
	(cd "$apt/deb" && ls ipxe_*.deb) >"$apt/root/VERSION"
	mkdir -p "$caches"
	rm -rf "$cache"
	mv "$apt/root" "$cache"
}

installed=$(dpkg-query -W -f '${Version}' ipxe 2>/dev/null) || installed='version unknown'
script=yes # the UEFI binary runs autoexec.ipxe of the medium it came from
if [ -n "${IPXE_DIR:-}" ]; then
	ipxe=$IPXE_DIR source="$IPXE_DIR"
elif [ -r "$packaged/ipxe-amd64.efi" ]; then
	ipxe=$packaged source="package ipxe, $installed"
elif [ -n "$suite" ] && fetch "$suite"; then
	ipxe=$caches/$suite/usr/lib/ipxe source="package ipxe of $suite, $(cat "$caches/$suite/VERSION")"
elif [ -r "$packaged/ipxe.efi" ]; then
	ipxe=$packaged script=no source="package ipxe, $installed"
	say "no newer iPXE was to be had: no arm64, and UEFI machines wait 15 s for DHCPv4"
else
	die 'no iPXE: scripts/deps.sh media installs the package'
fi

# first NAME... prints the first of these files that there is.
first() {
	for name; do
		if [ -r "$ipxe/$name" ]; then
			printf '%s\n' "$ipxe/$name"
			return 0
		fi
	done
}
amd64=$(first ipxe-amd64.efi ipxe.efi) arm64=$(first ipxe-arm64.efi) bios=$(first ipxe.lkrn)
if [ -z "$amd64" ] || [ -z "$bios" ]; then die "$ipxe has no ipxe.efi or no ipxe.lkrn"; fi

: "${SOURCE_DATE_EPOCH:=$(stat -c %Y "$amd64")}"
export SOURCE_DATE_EPOCH

serve() { [ -z "$1" ] || install -m 644 "$1" "$out/$2"; }
rm -f "$out"/*.efi "$out"/*.kpxe "$out"/*.lkrn "$out"/bootd.* "$out/SHA256SUMS" "$out/SOURCES"
serve "$amd64" ipxe.efi
serve "$arm64" ipxe-arm64.efi
serve "$(first snponly.efi)" snponly.efi
serve "$(first undionly.kpxe)" undionly.kpxe
serve "$bios" ipxe.lkrn

# What both media carry: a tree for UEFI, and one for BIOS.
mkdir -p "$work/uefi/EFI/BOOT" "$work/bios"
cp "$amd64" "$work/uefi/EFI/BOOT/BOOTX64.EFI"
[ -z "$arm64" ] || cp "$arm64" "$work/uefi/EFI/BOOT/BOOTAA64.EFI"
cp "$bios" "$work/bios/ipxe.krn"
cp "$SYSLINUX/modules/bios/ldlinux.c32" "$work/bios/ldlinux.c32"
cat >"$work/bios/syslinux.cfg" <<-'EOF'
	SERIAL 0 115200
	DEFAULT bootd
	LABEL bootd
	  KERNEL /ipxe.krn
	  INITRD /autoexec.ipxe
EOF
cp "$here/v6only.ipxe" "$work/autoexec.ipxe"
# A BIOS calls the stick it boots from its first disk: there the machine's own is the second.
awk '{print} NR == 1 {print "set local-drive 0x81"}' "$here/v6only.ipxe" >"$work/autoexec-usb.ipxe"
find "$work/uefi" "$work/bios" "$work/autoexec.ipxe" "$work/autoexec-usb.ipxe" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +

# fat IMAGE[@@OFFSET] SECTORS HIDDEN SCRIPT: a FAT file system with the UEFI half.
fat() {
	mformat -i "$1" -v BOOTD -N 0b007d00 -T "$2" -h 16 -s 32 -H "$3" ::
	mmd -i "$1" ::/EFI ::/EFI/BOOT
	mcopy -m -i "$1" "$work"/uefi/EFI/BOOT/* ::/EFI/BOOT/
	mcopy -m -i "$1" "$4" ::/autoexec.ipxe
}

# iPXE looks for the script at the root of the file system that it came from.
usb() {
	img=$work/bootd.usb
	truncate -s 16M "$img"
	# Type ef, which UEFI looks for; active, which the boot record of a BIOS looks for.
	printf 'label-id: 0x0b007d00\nstart=2048, type=ef, bootable\n' | sfdisk -q --label dos "$img"
	dd if="$SYSLINUX/mbr/mbr.bin" of="$img" conv=notrunc status=none
	fat "$img@@1M" 30720 2048 "$work/autoexec-usb.ipxe"
	mcopy -m -i "$img@@1M" "$work"/bios/* ::/
	syslinux -i -t 1048576 "$img"
	mv "$img" "$out/bootd.usb"
}

iso() {
	tree=$work/iso
	mkdir "$tree"
	cp -p "$work"/bios/* "$ISOLINUX/isolinux.bin" "$work/autoexec.ipxe" "$tree/"
	mv "$tree/syslinux.cfg" "$tree/isolinux.cfg"
	truncate -s 6M "$tree/esp.img"
	fat "$tree/esp.img" 12288 0 "$work/autoexec.ipxe"
	find "$tree" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
	xorriso -report_about WARNING -as mkisofs -quiet -o "$work/bootd.iso" -V BOOTD -iso-level 3 -R -J \
		-b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table \
		-eltorito-alt-boot -e esp.img -no-emul-boot \
		-isohybrid-mbr "$ISOLINUX/isohdpfx.bin" -isohybrid-gpt-basdat "$tree" 2>"$work/xorriso" ||
		die "making bootd.iso: $(cat "$work/xorriso")"
	mv "$work/bootd.iso" "$out/bootd.iso"
}

usb
iso
{
	echo "iPXE: $source"
	if [ $script = yes ]; then echo 'UEFI script: autoexec.ipxe on the medium'; else echo 'UEFI script: none, iPXE asks for DHCPv4 first'; fi
} >"$out/SOURCES"
cd "$out"
sha256sum -- *.efi *.kpxe *.lkrn bootd.iso bootd.usb >SHA256SUMS
say "$(pwd): $(du -ch bootd.iso bootd.usb | awk 'END {print $1}') of media; iPXE: $source"
