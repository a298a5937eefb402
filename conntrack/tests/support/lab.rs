//! A network laboratory: two network namespaces, `host` and `peer`, joined by a veth pair whose end in
//! `host` is the watched device. All traffic of a test stays inside. It is removed when the test ends,
//! even if it fails.

use std::{
    fs::File,
    os::fd::AsFd as _,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The watched device, in `host`.
pub const DEVICE: &str = "ct-host";
/// Its other end, in `peer`.
pub const PEER_DEVICE: &str = "ct-peer";

/// Two namespaces and the wire between them.
pub struct Lab {
    pub host: Namespace,
    pub peer: Namespace,
}

impl Lab {
    /// A laboratory whose host has these addresses; its peer has none of its own.
    pub fn new(host_addresses: &[&str]) -> Self {
        let lab = Self { host: Namespace::new("host"), peer: Namespace::new("peer") };
        lab.plug_in(host_addresses);
        lab
    }

    /// Makes the wire between the two; again, if it was removed.
    pub fn plug_in(&self, host_addresses: &[&str]) {
        let Self { host, peer } = self;
        let ends = [DEVICE, "netns", &host.name, "type", "veth", "peer", "name", PEER_DEVICE];
        ip(&[&["link", "add"], &ends[..], &["netns", &peer.name]].concat());
        for address in host_addresses {
            host.add_address(DEVICE, address);
        }
        for (end, device) in [(host, DEVICE), (peer, PEER_DEVICE)] {
            // The largest, so that every frame of a capture fits.
            ip(&["-n", &end.name, "link", "set", device, "mtu", "65535", "up"]);
        }
    }

    /// Another laboratory, whose peer is behind this host: 10.8.0.2 and `fd00:8::2`. The host, which has these
    /// addresses, routes between it and its own peer.
    pub fn network_behind(&self, host: [&str; 2]) -> Self {
        let behind = Self::new(&[]);
        let far = behind.peer.name.as_str();
        let ends =
            ["link", "add", "ct-behind", "type", "veth", "peer", "name", "ct-far", "netns", far];
        self.host.run("ip", &ends);
        self.host.up("ct-behind");
        behind.peer.up("ct-far");
        let networks = [("10.8.0.0/24", "192.168.200.0/24"), ("fd00:8::/64", "fd00:200::/64")];
        let ends = [("10.8.0.1", "10.8.0.2"), ("fd00:8::1", "fd00:8::2")];
        for (((router, far), (network, back)), host) in ends.into_iter().zip(networks).zip(host) {
            self.host.add_address("ct-behind", router);
            behind.peer.add_address("ct-far", far);
            self.peer.run("ip", &["route", "add", network, "via", host]);
            behind.peer.run("ip", &["route", "add", back, "via", router]);
        }
        for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            self.host.run("sh", &["-c", &format!("echo 1 > /proc/sys/net/{switch}")]);
        }
        behind
    }

    /// Deletes the wire, and with it the watched device.
    pub fn unplug(&self) {
        ip(&["-n", &self.host.name, "link", "delete", DEVICE]);
    }

    /// The clsact qdisc and the filters on the watched device, as `tc` shows them.
    pub fn hooks(&self) -> String {
        let shown = [
            self.host.run("tc", &["qdisc", "show", "dev", DEVICE, "clsact"]),
            self.host.run("tc", &["filter", "show", "dev", DEVICE, "ingress"]),
            self.host.run("tc", &["filter", "show", "dev", DEVICE, "egress"]),
        ];
        shown.concat()
    }

    /// Whether there is an XDP program on the watched device.
    pub fn xdp(&self) -> bool {
        self.host.run("ip", &["link", "show", "dev", DEVICE]).contains("prog/xdp")
    }
}

/// A network namespace, with loopback up.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    /// A namespace for this role.
    pub fn new(role: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = Self { name: format!("ct-{}-{number}-{role}", process::id()) };
        ip(&["netns", "add", &namespace.name]);
        // No duplicate address detection and no router solicitation: addresses work at once, and the
        // test's traffic is the only traffic.
        for setting in ["accept_dad", "router_solicitations", "autoconf"] {
            for scope in ["all", "default"] {
                let path = format!("/proc/sys/net/ipv6/conf/{scope}/{setting}");
                namespace.run("sh", &["-c", &format!("echo 0 > {path}")]);
            }
        }
        namespace.up("lo");
        namespace
    }

    /// Adds an address, with the prefix of its subnet.
    pub fn add_address(&self, device: &str, address: &str) {
        let prefix_length = if address.contains(':') { 64 } else { 24 };
        let network = format!("{address}/{prefix_length}");
        ip(&["-n", &self.name, "address", "add", &network, "dev", device]);
    }

    pub fn up(&self, device: &str) {
        ip(&["-n", &self.name, "link", "set", device, "up"]);
    }

    /// A command to run inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a command inside; returns its standard output.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        output(self.command(program).args(arguments))
    }

    /// Runs a function on a thread inside.
    pub fn enter<T: Send>(&self, function: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let namespace =
                    File::open(format!("/run/netns/{}", self.name)).expect("a namespace");
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(namespace.as_fd(), kind).expect("entered");
                function()
            });
            inside.join().expect("no panic inside")
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let deleted = Command::new("ip").args(["netns", "delete", &self.name]).status();
        if !deleted.is_ok_and(|status| status.success()) {
            eprintln!("the namespace {} is left behind", self.name);
        }
    }
}

#[track_caller]
fn ip(arguments: &[&str]) {
    output(Command::new("ip").args(arguments));
}

#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.output().expect("the command runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}
