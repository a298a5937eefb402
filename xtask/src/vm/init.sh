#!/usr/bin/busybox sh
# The first process of a machine for tests: makes the system ready, runs what /plan says, a line a
# module, and says on the console how it went. With it the machine ends.
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
while read -r module arguments; do
    echo "@ begin $module"
    # By their whole names: libtest takes the union of all that it is told, not the tests that are in
    # the module and have these arguments too. The module's own name is no test's, so without any
    # other nothing runs.
    # shellcheck disable=SC2086  # They are several words.
    tests=$(/tests --list $arguments | sed -n "s/^\($module::.*\): test$/\1/p")
    # shellcheck disable=SC2086
    CONNTRACK_TEST_EXCUSES=none /tests --test-threads 2 --exact "$module" $tests < /dev/null 2>&1
    echo "@ end $module $?"
done < /plan
reboot -f
