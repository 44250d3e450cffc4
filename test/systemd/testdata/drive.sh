#!/bin/sh
# drive.sh EVIDENCE DROPINS - what a person does with the unit, under a running systemd. Standard output is the test's expectation.
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

# A machine that hands a prefix on, with the drop-ins of docs/install.md and docs/modules/docker.md.
for drop_in in "$2"/*.conf; do install -D -m 644 -t /etc/systemd/system/bootd.service.d "$drop_in"; done
mkdir -p /etc/docker
echo '{"debug": true}' >/etc/docker/daemon.json
cat >/etc/bootd/inventory.yaml <<EOF
anyip: "2001:db8:100::/64"
docker: {prefix: "2001:db8:0:3::/64", inner: 80, restart: [systemctl, restart, engine]}
EOF
cat >/etc/systemd/system/engine.service <<EOF
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'cat /etc/docker/daemon.json >>$1/engine'
EOF
systemctl daemon-reload
systemctl start bootd && echo 'started with drop-ins'
tries=0
until /usr/local/bin/bootd status | grep -q ': told$' || [ $((tries += 1)) = 100 ]; do sleep 0.1; done
/usr/local/bin/bootd status | grep -v '^bootd\|^HOST\|^$'
ip -6 route show table local proto 217 | grep -q '^local 2001:db8:100::/64 ' && echo 'bound by 217'
tr -d ' \n\t' <"$evidence/engine"
stat -c ' %n: %U %G %a' /etc/docker/daemon.json
