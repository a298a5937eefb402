"""judge.py FIREWALL SCRIPTS: has the real ufw or firewalld take the scripts in the folder SCRIPTS, and sends real
traffic through it. Run it as root where the root, the network and the processes are its own: it changes all three.

The scripts are learning, enforcing and fewer, made of the trees in formats.rs; fewer lacks the port GONE.
"""

import glob
import os
import socket
import subprocess
import sys
import time

HOST = {4: "192.168.200.230", 6: "fd00:200::230"}
PEER = {4: "192.168.200.1", 6: "fd00:200::1"}
ROUTER = {4: "10.8.0.1", 6: "fd00:8::1"}
BEHIND = {4: "10.8.0.2", 6: "fd00:8::2"}

SEEN = {"in": [("tcp", 22), ("tcp", 443), ("udp", 53), ("tcp", 9100)],
        "out": [("tcp", 443), ("udp", 53)],
        "forward": [("tcp", 5432), ("udp", 53)]}
UNSEEN = {"in": [("tcp", 23), ("udp", 123), ("tcp", 444)],
          "out": [("tcp", 25), ("udp", 123)],
          "forward": [("tcp", 5433), ("udp", 123)]}
GONE = ("tcp", 9100)

SERVERS = r"""
import select, socket, sys
sockets = []
for word in sys.argv[1:]:
    protocol, port = word.split("/")
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    it = socket.socket(socket.AF_INET6, kind)
    it.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    it.bind(("::", int(port)))
    if protocol == "tcp":
        it.listen(64)
    sockets.append(it)
print("ready", flush=True)
while True:
    for it in select.select(sockets, [], [])[0]:
        if it.type == socket.SOCK_STREAM:
            connection, _ = it.accept()
            connection.sendall(b"x")
            connection.close()
        else:
            data, end = it.recvfrom(100)
            it.sendto(data, end)
"""

ASK = r"""
import socket, sys
protocol, address, port = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
it = socket.socket(family, kind)
it.settimeout(1.5)
try:
    it.connect((address, int(port)))
    if protocol == "udp":
        it.send(b"x")
    sys.exit(0 if it.recv(1) == b"x" else 1)
except OSError:
    sys.exit(1)
"""

children = []


def run(*words, **options):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def inside(place):
    return ["ip", "netns", "exec", place] if place else []


def build():
    """This namespace is the host, between a peer and one that is behind it."""
    run("ip", "link", "set", "lo", "up")
    for place, device, ours, theirs in [("peer", "lan0", HOST, PEER), ("behind", "lan1", ROUTER, BEHIND)]:
        run("ip", "netns", "add", place)
        for setting in ["all", "default"]:
            for end in [[], inside(place)]:
                run(*end, "sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{setting}/accept_dad")
        run("ip", "link", "add", device, "type", "veth", "peer", "name", "it0", "netns", place)
        for family, length in [(4, 24), (6, 64)]:
            run("ip", "address", "add", f"{ours[family]}/{length}", "dev", device)
            run("ip", "-n", place, "address", "add", f"{theirs[family]}/{length}", "dev", "it0")
        run("ip", "link", "set", device, "up")
        for end in ["lo", "it0"]:
            run("ip", "-n", place, "link", "set", end, "up")
        for family in [4, 6]:
            run("ip", "-n", place, "route", "add", "default", "via", ours[family])
    for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"]:
        run("sh", "-c", f"echo 1 > /proc/sys/net/{switch}")
    for place, way in [(None, "in"), ("peer", "out"), ("behind", "forward")]:
        ports = [f"{protocol}/{port}" for protocol, port in SEEN[way] + UNSEEN[way]]
        words = inside(place) + [sys.executable, "-c", SERVERS] + ports
        server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        children.append(server)
        assert server.stdout.readline() == "ready\n", way


def passes(way, service, family):
    place, to = {"in": ("peer", HOST), "out": (None, PEER), "forward": ("peer", BEHIND)}[way]
    protocol, port = service
    words = inside(place) + [sys.executable, "-c", ASK, protocol, to[family], str(port)]
    return subprocess.run(words).returncode == 0


def judge(when, expected):
    """expected tells of a way and whether it was seen whether it passes."""
    count = 0
    for way in SEEN:
        for service in SEEN[way] + UNSEEN[way]:
            for family in [4, 6]:
                should = expected(way, service)
                # What should pass may be late on a busy machine; what should not never passes.
                tries = 5 if should else 1
                does = any(passes(way, service, family) for _ in range(tries))
                if does != should:
                    sys.exit(f"{when}: {way} {service} IPv{family} passes: {does}")
                count += 1
    print(f"{when}: {count} connections as they should be")


def is_seen(way, service):
    return service in SEEN[way]


class Ufw:
    def start(self):
        run("ufw", "--force", "reset")
        run("sed", "-i", "s/^IPV6=.*/IPV6=yes/", "/etc/default/ufw")
        run("ufw", "default", "allow", "outgoing")
        run("ufw", "allow", "4444/tcp", "comment", "mine")

    def load(self):
        run("ufw", "--force", "enable")

    def state(self):
        files = ["/etc/ufw/user.rules", "/etc/ufw/user6.rules", "/etc/default/ufw"]
        return "".join(open(file).read() for file in files)

    def check(self):
        pass

    def ours(self):
        added = run("ufw", "show", "added")
        assert "ufw allow 4444/tcp comment 'mine'" in added, added
        return added.count("comment 'conntrack ")


class Firewalld:
    def start(self):
        for file in glob.glob("/etc/firewalld/*/*.xml"):
            os.remove(file)
        os.makedirs("/run/dbus", exist_ok=True)
        run("dbus-daemon", "--system", "--fork")
        # It detaches and logs to a file: --nofork keeps it ours.
        self.log = open("/tmp/firewalld.log", "w+")
        children.append(subprocess.Popen(["firewalld", "--nofork", "--nopid", "--debug=1"], stdout=self.log, stderr=self.log))
        deadline = time.monotonic() + 120
        while subprocess.run(["firewall-cmd", "--state"], capture_output=True).returncode != 0:
            if time.monotonic() > deadline:
                sys.exit("firewalld does not start")
            time.sleep(0.2)

    def load(self):
        run("firewall-cmd", "--reload")
        log = open(self.log.name).read()
        for bad in ["ERROR", "Falling back"]:
            if bad in log:
                sys.exit(f"firewalld does not take it:\n{log}")

    def state(self):
        files = sorted(glob.glob("/etc/firewalld/*/*.xml"))
        return "".join(file + open(file).read() for file in files)

    def check(self):
        run("firewall-offline-cmd", "--check-config")
        run("firewall-cmd", "--check-config")

    def ours(self):
        return len(glob.glob("/etc/firewalld/*/conntrack-*.xml"))


def put(firewall, script, *words):
    run("sh", script, *words)
    once = firewall.state()
    run("sh", script, *words)
    assert firewall.state() == once, f"{script} {words} twice changes something"
    firewall.check()
    firewall.load()


def main():
    name, scripts = sys.argv[1:]
    firewall = {"ufw": Ufw, "firewalld": Firewalld}[name]()
    build()
    judge("without a firewall", lambda way, service: True)
    firewall.start()
    put(firewall, f"{scripts}/learning")
    # What is not allowed is left to the firewall: it refuses what arrives and what passes through.
    judge(f"{name}, learning", lambda way, service: is_seen(way, service) or way == "out")
    put(firewall, f"{scripts}/enforcing")
    judge(f"{name}, enforcing", is_seen)
    put(firewall, f"{scripts}/fewer")
    judge(f"{name}, with a connection less", lambda way, service: is_seen(way, service) and service != GONE)
    assert firewall.ours() > 0
    run("sh", f"{scripts}/fewer", "delete")
    assert firewall.ours() == 0, "something of ours is left"
    print(f"{name}: nothing is left")


try:
    main()
finally:
    for child in children:
        child.kill()
