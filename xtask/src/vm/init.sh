#!/usr/bin/busybox sh
# The first process of a machine for tests: makes the system ready, runs what /plan says, a line a
# program, and says on the console how it went. With it the machine ends.
export PATH=/usr/sbin:/usr/bin:/usr/local/bin HOME=/root LANG=C.UTF-8
/usr/bin/busybox --install -s /usr/local/bin

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2> /dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for directory in /dev/shm /run /tmp; do mount -t tmpfs -o mode=1777 tmpfs "$directory"; done

version=$(uname -r)
if [ -d "/lib/modules/$version" ]; then
    # Not busybox's, which does not read packed modules.
    /usr/sbin/depmod "$version"
    for module in veth sch_ingress cls_bpf; do /usr/sbin/modprobe "$module"; done
fi
ip link set lo up

# What the firmware said last may be without an end of line.
echo
echo "@ kernel $version"
while read -r program arguments; do
    echo "@ begin $program"
    # shellcheck disable=SC2086  # They are several words.
    CONNTRACK_TEST_EXCUSES=none "/tests/$program" --test-threads 2 $arguments < /dev/null 2>&1
    echo "@ end $program $?"
done < /plan
reboot -f
