#!/bin/sh
# Run inside the new root once its packages are there.
set -eu

# Locked: there is no password to log in with, only the key of the launch.
useradd --create-home --uid 1000 --user-group --groups adm,sudo --shell /bin/bash --comment 'EC2 Default User' ec2-user

# pip and `uv pip --system` install next to the system's own Python, as they do on Amazon Linux. The mark that forbids
# it protects machines that live for years; a diversion stays in force when the package is upgraded.
for mark in /usr/lib/python3*/EXTERNALLY-MANAGED; do
    dpkg-divert --local --rename --quiet --add "$mark"
done

# What would start at each boot, and do nothing: rsync as a daemon has no configuration, sudo has nothing to clean up.
for service in rsync sudo; do
    if [ -e "/etc/init.d/$service" ]; then
        update-rc.d "$service" disable
    fi
done

# Bytecode of our own programs. Python compares digests, so that what root changes later counts.
if [ -x /usr/bin/python3 ]; then
    python3 -m compileall -q --invalidation-mode checked-hash /usr/lib/skylift
fi

# What tells one machine from another is made at its first boot, or written by the host before it.
rm -f /etc/ssh/ssh_host_* /etc/machine-id /etc/hostname /etc/resolv.conf
rm -f /etc/apt/apt.conf.d/99mmdebstrap
printf 'Acquire::Languages "none";\n' >/etc/apt/apt.conf.d/90skylift
rm -rf /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/log/*.log /var/log/apt /run/* /tmp/*
: >/etc/environment
