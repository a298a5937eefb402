//! A scanner and floods: single packets from addresses that need not exist.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{
    frames::{Tcp, Wire, tcp, udp_with},
    lab::{DEVICE, Lab, PEER_DEVICE},
};

/// Gives both ends of the wire the MAC addresses that frames made by hand have, so that the host takes
/// these as its own.
pub fn take_frames_by_hand(lab: &Lab) {
    for (end, device, address) in
        [(&lab.host, DEVICE, "02:00:00:00:00:02"), (&lab.peer, PEER_DEVICE, "02:00:00:00:00:01")]
    {
        end.run("ip", &["link", "set", device, "address", address]);
    }
}

/// As `nmap -sS` does: a SYN to each port, from one address and port.
pub fn scan_tcp(wire: &mut Wire, from: SocketAddr, to: IpAddr, ports: impl Iterator<Item = u16>) {
    for port in ports {
        wire.arrive(&tcp(from, SocketAddr::new(to, port), Tcp::Syn));
    }
}

/// As `nmap -sU` does: an empty datagram to each port.
pub fn scan_udp(wire: &mut Wire, from: SocketAddr, to: IpAddr, ports: impl Iterator<Item = u16>) {
    for port in ports {
        wire.arrive(&udp_with(from, SocketAddr::new(to, port), b""));
    }
}

/// Opens `number` connections to one port from as many addresses of the internet, and leaves them half
/// open.
pub fn flood(wire: &mut Wire, to: SocketAddr, number: u32) {
    for spoofed in 0..number {
        let [_, a, b, c] = spoofed.wrapping_mul(0x9e_37b1).to_be_bytes();
        let from =
            SocketAddr::new(Ipv4Addr::new(198, a, b, c).into(), 1_024 + (spoofed % 60_000) as u16);
        wire.arrive(&tcp(from, to, Tcp::Syn));
    }
}
