#!/usr/bin/env bash
# boot.sh NAME KERNEL DISK COW: boots the disk in the network namespace NAME, as 10.99.0.2, with a way out by pasta. DISK is
# not changed: what is written is in the file COW, with the console in COW.log. Returns when the guest is off.
set -euo pipefail
name=$1 kernel=$2 disk=$3 cow=$4
way_out=
end() {
    if [ -n "$way_out" ]; then kill "$way_out" 2>/dev/null || true; fi
    ip netns delete "$name"
}
ip netns add "$name"
trap end EXIT
within() { ip netns exec "$name" "$@"; }
ip -n "$name" link set lo up
within ip tuntap add dev tap0 mode tap
ip -n "$name" addr add 10.99.0.1/24 dev tap0
# User-Mode Linux takes no frame that is longer than its link's, which the kernel makes of several to forward them at once.
ip -n "$name" link set tap0 gso_max_segs 1 up

pasta --foreground --quiet --config-net --ipv4-only --netns "/run/netns/$name" --runas 0 --ns-ifname out --no-map-gw \
    --address 169.254.3.2 --netmask 30 --gateway 169.254.3.1 --dns-forward 10.98.0.53 \
    --tcp-ports none --udp-ports none --tcp-ns none --udp-ns none &
way_out=$!
within sysctl -q net.ipv4.ip_forward=1
within nft 'add table ip vm; add chain ip vm out { type nat hook postrouting priority srcnat; }; add rule ip vm out ip saddr 10.99.0.2 masquerade'

# Guests have 3 GiB of memory, a file in TMPDIR that has no name any more.
TMPDIR=$(dirname "$cow") within "$kernel" mem=3G "ubd0=$cow,$disk" root=/dev/ubda rw vec0:transport=tap,ifname=tap0 \
    con=null con0=null,fd:1 con1=null,fd:1 security=apparmor </dev/null >>"$cow.log" 2>&1
