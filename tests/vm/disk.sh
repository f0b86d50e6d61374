#!/usr/bin/env bash
# disk.sh: `disk.raw` in this folder, a stock Debian 13 for a User-Mode Linux, and `id`, the key of its users root and dev.
# disk.sh IMAGES ID: with the image ID of skylift's servers, out of IMAGES, whose building would take ten minutes there. On it are
# the packages that skylift needs of Python, too, in ~dev/.skylift, and nothing else of skylift.
set -euo pipefail
images=$1 image=$2
here=$(cd "$(dirname "$0")" && pwd)
packages=systemd-sysv,dbus,dbus-user-session,libpam-systemd,systemd-resolved,apparmor,apparmor-utils,sudo,openssh-server
packages+=,python3,python3-venv,ca-certificates,iproute2,iputils-ping,nftables,procps,less,curl,locales,psmisc,udev,acl,awscli
ssh-keygen -q -t ed25519 -N '' -f id
# Sources that are folders of this machine are not there in the guest.
mkdir sources
for each in /etc/apt/sources.list.d/*.sources; do grep -q 'URIs: *file:' "$each" || cp "$each" sources/; done
trap 'rm -rf root sources' EXIT
mmdebstrap --mode=root --variant=important --include="$packages" --aptopt='APT::Install-Recommends "false"' \
    --customize-hook="$here/customize.sh \"\$1\" \"$PWD\" \"$here/../../pyproject.toml\"" trixie root sources/*.sources
kept=root/var/lib/skylift/images
install -d -m 711 root/var/lib/skylift "$kept"
cp -a "$images/$image" "$images/$image.json" "$kept"
truncate -s 16G disk.new
mke2fs -q -t ext4 -d root -L root -E lazy_itable_init=1,lazy_journal_init=1 disk.new
mv disk.new disk.raw
