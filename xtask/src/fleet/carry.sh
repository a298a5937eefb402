#!/bin/sh
# carry.sh DIR: has journald, systemd-journal-upload, systemd-journal-remote and rsyslog carry the events of a capture,
# as docs/fleet.md says. DIR holds the program, the capture and the recipes, and gets what came of it. Run it as root
# in a Debian, in mount, PID and network namespaces of its own: the daemons end with them.
set -eu
dir=$1
remote=/lib/systemd/systemd-journal-remote
upload=/lib/systemd/systemd-journal-upload

# Up to a minute.
wait_for() {
    for _ in $(seq 600); do
        if "$@"; then return 0; fi
        sleep 0.1
    done
    echo "waited in vain: $*" >&2
    exit 1
}
has_lines() { [ "$(wc -l < "$1" 2> /dev/null || echo 0)" -ge "$2" ]; }
has_entries() { list > "$dir/remote.jsonl" 2> /dev/null; has_lines "$dir/remote.jsonl" "$1"; }
list() { journalctl --directory=/srv/remote --output=json CONNTRACK_TYPE=event || true; }

mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal /srv/remote
systemd-machine-id-setup
# The kernel's log and its audit are the machine's, not ours.
printf '[Journal]\nStorage=volatile\nAudit=no\nReadKMsg=no\n' > /etc/systemd/journald.conf
/lib/systemd/systemd-journald &
wait_for test -S /run/systemd/journal/stdout

events() { "$dir/conntrack" -r "$dir/seed.pcap" --local 192.168.200.230 -p "$1" --events; }
events /tree > "$dir/events.jsonl"
count=$(wc -l < "$dir/events.jsonl")
[ "$count" -gt 5 ]

"$remote" --listen-http=127.0.0.1:19532 --output=/srv/remote/ &
rsyslogd -n -f "$dir/rsyslog-server.conf" -i /run/rsyslog-server.pid &
rsyslogd -n -f "$dir/rsyslog-client.conf" -i /run/rsyslog-client.pid &

# Told as a unit is told by systemd: what its output is.
cat > /run/unit << 'UNIT'
JOURNAL_STREAM=$(stat --dereference --format=%d:%i "/proc/$$/fd/1")
export JOURNAL_STREAM
exec "$0/conntrack" -r "$0/seed.pcap" --local 192.168.200.230 -p /tree2 --events
UNIT
systemd-cat --identifier=conntrack sh -c "$(cat /run/unit)" "$dir"
"$upload" --url=http://127.0.0.1:19532 --save-state=/run/upload.state &
wait_for has_entries "$count"
wait_for has_lines /var/log/conntrack.jsonl "$count"
cp /var/log/conntrack.jsonl "$dir/rsyslog.jsonl"
for program in "$remote" rsyslogd; do "$program" --version 2> /dev/null || "$program" -v; done | grep -E '^(systemd|rsyslogd) ' > "$dir/versions"
