#!/bin/sh
# deps.sh SET... - install the Debian packages that a set of tasks needs.
#
#   demo   what `make demo` runs: QEMU, firmware, iPXE, Debian 12's installer
#   media  what `make ipxe` makes boot media with
#   test   both, and the client programs and checkers that `make test` drives
#
# Fast when all is there (one dpkg-query). Needs root, or sudo. Uses whatever
# mirror apt is configured with. No service that a package brings is started
# here, and none is left enabled for the next start of the machine.
set -eu

# One package per word; a|b: the first of them that this release has.
DEMO='git qemu-system-x86 ovmf ipxe debian-installer-12-netboot-amd64 iproute2'
MEDIA='ipxe xorriso mtools syslinux syslinux-common isolinux fdisk debian-archive-keyring'
TEST="$DEMO $MEDIA"' gcc shellcheck libc6-dev systemd isc-dhcp-client dhcpcd5|dhcpcd-base
	wide-dhcpv6-client dibbler-client ndisc6 tftp-hpa atftp curl bind9-dnsutils
	kea-dhcp6-server kea-admin tcpdump dnsmasq-base busybox iputils-ping radvd radvdump
	ldnsutils dnsperf unbound tayga'

POLICY=/usr/sbin/policy-rc.d

# Relays, and the DHCPv6 server that people move in from.
TEST="$TEST isc-dhcp-relay dibbler-relay wide-dhcpv6-relay isc-dhcp-server"

# Servers that delegate prefixes to bootd, and what loses and doubles their packets.
TEST="$TEST wide-dhcpv6-server dibbler-server nftables"

# Phones: a SIP client and a SIP server that speak TLS on IPv6.
TEST="$TEST baresip-core kamailio kamailio-tls-modules"

# A Docker engine; without iptables it does not start.
TEST="$TEST docker.io iptables"

say() { printf 'deps: %s\n' "$*"; }
die() { printf 'deps: %s\n' "$*" >&2; exit 1; }

# sudo's PATH is not the user's: only the first of the two runs looks for go.
[ "${1:-}" = as-root ] && shift || command -v go >/dev/null ||
	die 'go is not in PATH: install Go 1.26 or newer, then run this again'

wanted=
for set in "${@:-demo}"; do
	case $set in
	demo) wanted="$wanted $DEMO" ;;
	media) wanted="$wanted $MEDIA" ;;
	test) wanted="$wanted $TEST" ;;
	*) die "unknown set '$set'; the sets are: demo media test" ;;
	esac
done

command -v dpkg-query >/dev/null ||
	die 'this is not a Debian system; install the equivalents of:' $wanted

# shellcheck disable=SC2046,SC2086
have=" $(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $(echo $wanted | tr '|' ' ') 2>/dev/null |
	awk '$1 == "installed" {printf "%s ", $2}')"

missing=
for alternatives in $wanted; do
	found=
	for package in $(echo "$alternatives" | tr '|' ' '); do
		case $have in *" $package "*) found=yes ;; esac
	done
	[ -n "$found" ] || missing="$missing $alternatives"
done
if [ -z "$missing" ]; then
	say 'all there'
	exit 0
fi

if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || die 'neither root nor sudo: as root, run:' "$0" "$@"
	say 'root is needed to install:' $missing
	exec sudo "$0" as-root "$@"
fi

started=$(date +%s)
say 'reading the package lists'
apt-get -qq -o DPkg::Lock::Timeout=300 update

install=
for alternatives in $missing; do
	pick=
	for package in $(echo "$alternatives" | tr '|' ' '); do
		if [ -z "$pick" ] && apt-cache show "$package" >/dev/null 2>&1; then pick=$package; fi
	done
	[ -n "$pick" ] || die "apt knows no package $alternatives: is 'main' among the components of its sources?"
	case " $install " in *" $pick "*) ;; *) install="$install $pick" ;; esac
done

# While the packages are configured, nothing may start: the usual Debian way is
# a policy-rc.d that forbids it. One that was there before comes back afterwards.
restore() {
	rm -f "$POLICY"
	if [ -e "$POLICY.before-bootd" ]; then mv "$POLICY.before-bootd" "$POLICY"; fi
}
trap restore EXIT
trap 'exit 1' INT TERM HUP
# A copy left by a run that was killed is the true original: keep it.
if [ -e "$POLICY" ] && [ ! -e "$POLICY.before-bootd" ]; then mv "$POLICY" "$POLICY.before-bootd"; fi
printf '#!/bin/sh\nexit 101\n' >"$POLICY"
chmod 755 "$POLICY"

say 'installing:' $install
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
	-o APT::Install-Recommends=false install $install </dev/null

# The clients and servers are run by the tests, in namespaces of their own: on
# a machine that runs systemd, what a package has just enabled is disabled.
if [ -d /run/systemd/system ]; then
	for unit in isc-dhcp-relay isc-dhcp-server dibbler-relay dibbler-client dibbler-server wide-dhcpv6-relay wide-dhcpv6-server; do
		case " $install " in *" $unit "*) systemctl --quiet disable "$unit" 2>/dev/null || true ;; esac
	done
	for unit in radvd dhcpcd wide-dhcpv6-client kea-dhcp6-server kea-ctrl-agent unbound tayga kamailio; do
		case " $install " in *" $unit"*) systemctl --quiet disable "$unit" 2>/dev/null || true ;; esac
	done
fi
say "done in $(($(date +%s) - started)) s"
