#!/bin/sh
# debconf-set-selections FILE, as far as the disk guard uses it: it hands the disk to the installer.
sed -n 's/^d-i partman-auto\/disk string //p' "$1" >/tmp/bootd/disk
