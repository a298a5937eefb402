#!/usr/bin/busybox sh
# Process 1 of a virtual machine: mounts file systems, loads modules, runs the modules of tests that
# /plan lists, one a line, prints the results on the console and ends the machine.
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
    # Not busybox's, which does not read compressed modules.
    /usr/sbin/depmod "$version"
    for module in veth sch_ingress cls_bpf; do /usr/sbin/modprobe "$module"; done
fi
ip link set lo up

# The last line of the firmware may lack its newline.
echo
echo "@ kernel $version"
while read -r module arguments; do
    echo "@ begin $module"
    # Exact names, because libtest runs the union of its filters, and the intersection is wanted: tests
    # of this module that these arguments choose. The module's own name matches no test; without it, no
    # filter at all would run everything.
    # shellcheck disable=SC2086  # They are several words.
    tests=$(/tests --list $arguments | sed -n "s/^\($module::.*\): test$/\1/p")
    # shellcheck disable=SC2086
    CONNTRACK_TEST_EXCUSES=none /tests --test-threads 2 --exact "$module" $tests < /dev/null 2>&1
    echo "@ end $module $?"
done < /plan
reboot -f
