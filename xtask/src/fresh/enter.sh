#!/bin/sh
# enter.sh ROOT SYSROOT TOOLCHAIN PROGRAM [ARGUMENT]...: runs PROGRAM in ROOT, where TOOLCHAIN, a folder
# there, shows SYSROOT. Only for mount and process namespaces of its own: what is mounted here goes with
# them, and as the first process this shell collects what others leave behind.
set -eu
root=$1 sysroot=$2 toolchain=$3
shift 3

# `ip netns` and `unshare` change how mounts spread from /, so it has to be a mount.
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

# Not as the last command, whose place some shells give to the program.
status=0
chroot "$root" "$@" || status=$?
exit "$status"
