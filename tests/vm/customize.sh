#!/usr/bin/env bash
# customize.sh ROOT FOLDER PYPROJECT: what mmdebstrap leaves open: names, network, this machine's settings of apt and pip, users.
set -euo pipefail
root=$1 folder=$2 pyproject=$3
echo vm >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 vm\n::1 localhost ip6-localhost\n' >"$root/etc/hosts"
echo 'LABEL=root / ext4 rw,relatime,errors=remount-ro 0 1' >"$root/etc/fstab"
mkdir -p "$root/etc/systemd/network" "$root/etc/systemd/journald.conf.d"
printf '[Match]\nName=vec*\n[Network]\nAddress=10.99.0.2/24\nGateway=10.99.0.1\nDNS=10.98.0.53\n' >"$root/etc/systemd/network/20-vec.network"
printf '[Journal]\nStorage=persistent\n' >"$root/etc/systemd/journald.conf.d/persistent.conf"

# Packages come from where this machine has them from.
rm -f "$root/etc/apt/sources.list" "$root"/etc/apt/sources.list.d/*
cp "$folder"/sources/*.sources "$root/etc/apt/sources.list.d/"
cp -n /etc/apt/apt.conf.d/* "$root/etc/apt/apt.conf.d/"
if [ -e /etc/pip.conf ]; then cp /etc/pip.conf "$root/etc/pip.conf"; fi
cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
chroot "$root" update-ca-certificates >/dev/null

chroot "$root" useradd -m -s /bin/bash -G sudo,adm dev
echo 'dev ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/dev"
chmod 440 "$root/etc/sudoers.d/dev"
for home in root home/dev; do
    mkdir -p "$root/$home/.ssh"
    cp "$folder/id.pub" "$root/$home/.ssh/authorized_keys"
    chmod 700 "$root/$home" "$root/$home/.ssh"
done
echo 'umask 077' >>"$root/home/dev/.profile"

# README's first line finds what it installs: the walk installs what is in this folder, which is not on the disk.
cp "$pyproject" "$root/home/dev/pyproject.toml"
cat >"$root/home/dev/wanted.py" <<'P'
import tomllib
print("\n".join(tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]), "hatchling", sep="\n")
P
chroot "$root" chown -R dev:dev /home/dev
# A guest that boots has a resolver of its own; this one has this machine's.
cp /etc/resolv.conf "$root/etc/resolv.conf"
chroot "$root" su - dev -c 'umask 022; python3 -m venv .skylift && python3 wanted.py >wanted && .skylift/bin/pip install -q -r wanted && rm wanted wanted.py pyproject.toml'
ln -sf /run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"

chroot "$root" systemctl -q enable systemd-networkd systemd-resolved ssh
# User-Mode Linux has no serial line and this machine's clock, and shows the kernel's own audit records in its log.
chroot "$root" systemctl -q mask auditd systemd-timesyncd serial-getty@ttyS0 getty@tty1 systemd-firstboot apt-daily.timer apt-daily-upgrade.timer
# A first boot compiles each profile. Those of what skylift does not start are left out.
find "$root/etc/apparmor.d" -maxdepth 1 -type f ! -name '*passt*' ! -name '*pasta*' ! -name 'runc' ! -name 'crun' ! -name 'lxc*' \
    ! -name 'unprivileged_userns' -delete
