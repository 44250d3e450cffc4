# What the other scripts share. They run in the installer's busybox sh.
DIR=${BOOTD_DIR:-/tmp/bootd} SYS=${BOOTD_SYS:-/sys} DEV=${BOOTD_DEV:-/dev} TARGET=${BOOTD_TARGET:-/target}

# say TEXT: on every console and in the installer's log.
say() {
	logger -t bootd "$*"
	for tty in $(cat "$SYS/class/tty/console/active"); do
		echo "bootd: $*" >"$DEV/$tty"
	done
} 2>/dev/null

# tell URL: call bootd, five times if need be.
tell() {
	for _ in 1 2 3 4 5; do
		wget -q -O /dev/null "$1" && return 0
		sleep 2
	done
	say "bootd does not answer"
	return 1
}

progress() { tell {{shell .URL.Progress}}"?stage=$1"; }

# stop TEXT: tell everybody why, and never come back: what follows would write to a disk.
stop() {
	say "STOPPED: $*"
	tell {{shell .URL.Failed}}"?why=$(echo "$*" | tr -c 'A-Za-z0-9.,:=_\n-' '+')"
	[ -z "$BOOTD_TEST" ] || exit 1
	while :; do
		sleep 60
		say "STOPPED: $*"
	done
}
