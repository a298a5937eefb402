#!/bin/sh
# copy.sh ROOT SCRATCH PROGRAM [ARGUMENT]...: mounts a copy of ROOT, which may be written, at SCRATCH/root and
# runs PROGRAM. Run it only in mount, PID and network namespaces of its own: the mounts end with them, and this
# shell, as process 1, reaps orphans.
set -eu
root=$1 scratch=$2
shift 2

mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
mount -t overlay -o "lowerdir=$root,upperdir=$scratch/upper,workdir=$scratch/work" overlay "$scratch/root"
mount -t proc proc "$scratch/root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$scratch/root/dev/shm"

# Not the last command: some shells would exec it.
status=0
"$@" || status=$?
exit "$status"
