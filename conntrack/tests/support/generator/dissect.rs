//! Frames for people: hex, and what an independent parser makes of them.

use etherparse::{LaxNetSlice, LaxSlicedPacket, LinkSlice, TransportSlice};

/// An Ethernet frame.
pub fn ethernet(frame: &[u8]) -> String {
    let layers = match LaxSlicedPacket::from_ethernet(frame) {
        Ok(packet) => layers(&packet),
        Err(error) => error.to_string(),
    };
    hex(frame) + &layers
}

/// The same for a packet without a link header.
pub fn ip(packet: &[u8]) -> String {
    let layers = match LaxSlicedPacket::from_ip(packet) {
        Ok(packet) => layers(&packet),
        Err(error) => error.to_string(),
    };
    hex(packet) + &layers
}

/// Sixteen octets a line, behind their offset: `text2pcap` makes a capture of it.
fn hex(bytes: &[u8]) -> String {
    let line = |(number, octets): (usize, &[u8])| {
        let octets: Vec<_> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        format!("{:04x}  {}\n", number * 16, octets.join(" "))
    };
    bytes.chunks(16).enumerate().map(line).collect()
}

fn layers(packet: &LaxSlicedPacket<'_>) -> String {
    let link = packet.link.iter().filter_map(LinkSlice::to_header);
    let link = link.map(|link| format!("{link:?}"));
    let tags = packet.link_exts.iter().map(|tag| format!("{:?}", tag.to_header()));
    let net = packet.net.iter().map(|net| match net {
        LaxNetSlice::Ipv4(ipv4) => format!("{:?}", ipv4.header().to_header()),
        // Not one by one: etherparse's iterator aborts where a chain has an error.
        LaxNetSlice::Ipv6(ipv6) => format!(
            "{:?}, extension headers: {:?}, {} octets",
            ipv6.header().to_header(),
            ipv6.extensions().first_header(),
            ipv6.extensions().slice().len()
        ),
        LaxNetSlice::Arp(arp) => format!("{arp:?}"),
    });
    let transport = packet.transport.iter().map(|transport| match transport {
        TransportSlice::Udp(udp) => format!("{:?}", udp.to_header()),
        TransportSlice::Tcp(tcp) => format!("{:?}", tcp.to_header()),
        other => format!("{other:?}"),
    });
    let stopped = packet.stop_err.iter().map(|(error, layer)| format!("ends at {layer}: {error}"));
    let layers = link.chain(tags).chain(net).chain(transport).chain(stopped);
    layers.map(|layer| layer + "\n").collect()
}
