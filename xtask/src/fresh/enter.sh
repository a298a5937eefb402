#!/bin/sh
# enter.sh ROOT SYSROOT TOOLCHAIN PROGRAM [ARGUMENT]...: runs PROGRAM in ROOT, with SYSROOT mounted on
# TOOLCHAIN, a folder in ROOT. Run it only in mount and PID namespaces of its own: the mounts end with
# them, and this shell, as process 1, reaps orphans.
set -eu
root=$1 sysroot=$2 toolchain=$3
shift 3

# `ip netns` and `unshare` change the propagation of /, so / has to be a mount point.
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
if [ -e /dev/net/tun ]; then
    mkdir -p "$root/dev/net"
    : > "$root/dev/net/tun"
    mount --bind /dev/net/tun "$root/dev/net/tun"
fi
mount --bind -o ro "$sysroot" "$root$toolchain"

# Not the last command: some shells would exec it.
status=0
chroot "$root" "$@" || status=$?
exit "$status"
