#!/bin/sh
# drive.sh EVIDENCE - what a person does with the unit, under a running systemd. Standard output is the test's expectation.
evidence=$1

show() { systemctl show --value -P "$1" bootd; }
field() { awk -v name="$1:" '$1 == name {print $2}' "/proc/$pid/status"; }

systemctl start bootd && echo started
pid=$(show MainPID)
echo "user: $(stat -c '%U %G' "/proc/$pid")"
echo "capabilities: permitted $(field CapPrm), bounding $(field CapBnd)"
echo "no new privileges: $(field NoNewPrivs), seccomp: $(field Seccomp)"
stat -c '%n: %U %G %a' /var/lib/bootd /run/bootd /run/bootd/bootd.sock
# Served once the link-local address is past duplicate address detection.
until /usr/local/bin/bootd status | grep -q '^rack1 on eth1 (up): ' && ! /usr/local/bin/bootd status | grep -q '^!'; do sleep 0.1; done
echo 'status: no problem'
systemctl reload bootd && echo reloaded
echo 'wrong: true' >>/etc/bootd/inventory.yaml
systemctl reload bootd 2>/dev/null || echo "reload refused, $(show ActiveState)"
sed -i '$d' /etc/bootd/inventory.yaml
systemctl restart bootd && echo restarted
kill -9 "$(show MainPID)"
until [ "$(show NRestarts)" = 1 ] && [ "$(show ActiveState)" = active ]; do sleep 0.1; done
echo 'came back after kill -9'
systemctl stop bootd && echo "stopped: $(show Result), $(show ActiveState)"
grep -o 'msg=stopped final_ra=.*' "$evidence/bootd.log"
