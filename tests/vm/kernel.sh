#!/usr/bin/env bash
# kernel.sh: `linux` in this folder, a User-Mode Linux made of Debian's own kernel source: some seven minutes on two processors.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=6.12
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq --yes --no-install-recommends install flex bison bc libelf-dev build-essential xz-utils
apt-get -qq download "linux-source-$version"
dpkg-deb -x linux-source-"$version"_*.deb source
tar xf "source/usr/src/linux-source-$version.tar.xz"
cd "linux-source-$version"
# Processors with AMX have more state than the 2,696 bytes that this version reserves: init would die of "ptrace set fp
# regs failed, errno = 14".
sed -i 's/DEFINE_LONGS(HOST_FP_SIZE, 2696)/DEFINE_LONGS(HOST_FP_SIZE, 11264)/' arch/x86/um/user-offsets.c
make ARCH=um KCONFIG_ALLCONFIG="$here/kernel.config" allnoconfig
make -j"$(nproc)" ARCH=um linux
mv linux ..
cd ..
rm -rf source "linux-source-$version" linux-source-"$version"_*.deb
