#!/bin/sh
# trial.sh PACKAGE CAPTURE: in a minimal Debian that has netfilter's conntrack, installs the package beside it,
# uses, upgrades, removes and purges it. Run it only in such a root, and in a mount namespace of its own.
set -eux
package=$1 capture=$2
mount -t proc proc /proc

dpkg --install "$package"
conntrack-tree --version
test -x /usr/bin/conntrack-tree
dpkg --search "$(command -v conntrack)" | grep '^conntrack: '
getent passwd _conntrack-tree
systemd-analyze verify --man=no conntrack-tree@lo.service
for shell in bash-completion/completions/conntrack-tree zsh/vendor-completions/_conntrack-tree \
    fish/vendor_completions.d/conntrack-tree.fish; do
    test -s "/usr/share/$shell"
done
for page in '' -apply -audit -diff -doctor -dropped -rules -show; do
    zcat "/usr/share/man/man8/conntrack-tree$page.8.gz" | grep -q '^.SH EXAMPLES'
done

mkdir -p /var/lib/conntrack-tree
chown _conntrack-tree: /var/lib/conntrack-tree
setpriv --reuid _conntrack-tree --regid _conntrack-tree --clear-groups \
    conntrack-tree -r "$capture" --local 192.168.200.230 -p /var/lib/conntrack-tree/lo
conntrack-tree rules -p /var/lib/conntrack-tree/lo | grep 'ip saddr 192.168.200.230'

dpkg-deb --raw-extract "$package" /tmp/newer
sed -i 's/^Version: .*/&+newer/' /tmp/newer/DEBIAN/control
dpkg-deb --build --root-owner-group /tmp/newer /tmp/newer.deb
dpkg --install /tmp/newer.deb
rm -r /tmp/newer /tmp/newer.deb
dpkg-query --show conntrack-tree | grep '+newer$'
conntrack-tree --version

echo 'CONNTRACK_OPTIONS=' > /etc/default/conntrack-tree-lo
dpkg --remove conntrack-tree
test ! -e /usr/bin/conntrack-tree
test -e /etc/default/conntrack-tree-lo
dpkg --purge conntrack-tree 2>&1 | grep '/var/lib/conntrack-tree: remove it by hand'
test ! -e /etc/default/conntrack-tree-lo
# What was recorded, and nothing else.
test "$(find / -xdev -name '*conntrack-tree*')" = /var/lib/conntrack-tree
test -d /var/lib/conntrack-tree/lo/out/tcp
rm -r /var/lib/conntrack-tree
dpkg --purge conntrack-tree
dpkg --audit
conntrack --version
