//! Devices other than Ethernet, and packets other than a frame in one piece: tun, loopback, `any`,
//! packets in pages, super-packets. Needs root.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::support::{
    Files, assert_same_tree,
    collector::Collector,
    frames::{Tcp, Wire, tcp, udp},
    lab::{DEVICE, Lab, Namespace},
    tun::{Kind, TUN, Tun},
    usual::{EBPF, HOST, PCAP, XDP, end},
};

const ALL: [&[&str]; 3] = [EBPF, XDP, PCAP];

const HOST6: &str = "2001:db8:200::230";

fn paths<const N: usize>(paths: [&str; N]) -> Files {
    paths.map(str::to_owned).into()
}

/// A frame's packet, for devices that have no link header.
fn without_link_header(frame: &[u8]) -> Vec<u8> {
    frame[14..].to_vec()
}

/// Sends a datagram with a socket of the kernel's.
fn send(namespace: &Namespace, from: &str, to: &str) {
    namespace.enter(|| {
        let socket = UdpSocket::bind(end(from)).expect("bound");
        socket.send_to(b"payload", end(to)).expect("sent");
    });
}

#[track_caller]
fn assert_tree(what: &str, collector: Collector, expected: &Files) {
    collector.wait_for_files(expected);
    let ended = collector.stop();
    assert!(ended.status.success(), "{}", ended.said);
    assert_same_tree(what, expected, &ended.files);
}

#[test]
fn a_tun_device() {
    for mode in ALL {
        let lab = Lab::new(&[]);
        let tun = Tun::new(&lab.host, Kind::Tun, HOST);
        lab.host.add_address(TUN, HOST6);
        let collector = Collector::start_on(&lab.host, TUN, mode);
        send(&lab.host, "192.168.200.230:5000", "192.168.200.9:514");
        send(&lab.host, "[2001:db8:200::230]:5000", "[2001:db8:200::9]:514");
        let arriving = [
            udp(end("203.0.113.5:1000"), end("192.168.200.230:2000")),
            udp(end("[2a00::5]:1000"), end("[2001:db8:200::230]:2001")),
            tcp(end("10.0.0.5:1000"), end("192.168.200.230:22"), Tcp::Syn),
            tcp(end("10.0.0.5:1000"), end("192.168.200.230:23"), Tcp::SynAck),
            udp(end("10.0.0.5:1000"), end("10.0.0.6:2002")),
        ];
        for frame in arriving {
            tun.arrive(&without_link_header(&frame));
        }
        let expected = paths([
            "out/udp/192.168.200.230-PORT-192.168.200.9-514",
            "out/udp/2001:db8:200::230-PORT-INTERNET-514",
            "in/udp/INTERNET-PORT-192.168.200.230-2000",
            "in/udp/INTERNET-PORT-2001:db8:200::230-2001",
            "in/tcp/10.0.0.5-PORT-192.168.200.230-22",
            "else/udp/10.0.0.5-1000-10.0.0.6-2002",
        ]);
        assert_tree(&format!("tun with {mode:?}"), collector, &expected);
    }
}

#[test]
fn loopback() {
    for mode in ALL {
        let lab = Lab::new(&[]);
        let collector = Collector::start_on(&lab.host, "lo", mode);
        send(&lab.host, "127.0.0.1:5000", "127.0.0.1:9999");
        send(&lab.host, "[::1]:5000", "[::1]:9998");
        // 127.0.0.0/8 is not private address space (RFC 1918), so it folds.
        let expected = paths(["out/udp/127.0.0.1-PORT-INTERNET-9999", "out/udp/::1-PORT-::1-9998"]);
        assert_tree(&format!("lo with {mode:?}"), collector, &expected);
    }
}

#[test]
fn all_devices_at_once() {
    let lab = Lab::new(&[HOST]);
    let tun = Tun::new(&lab.host, Kind::Tun, "10.7.7.7");
    let mut wire = Wire::of(&lab);
    let mut collector = Collector::start_on(&lab.host, "any", &["--mode", "auto"]);
    assert!(collector.said_before("no eBPF here (eBPF watches devices by their names"));
    send(&lab.host, "127.0.0.1:5000", "127.0.0.1:9999");
    wire.leave(&tcp(end("192.168.200.230:1"), end("203.0.113.5:443"), Tcp::Syn));
    wire.arrive(&udp(end("10.0.0.1:1000"), end("192.168.200.230:2000")));
    wire.arrive(&tagged(udp(end("10.0.0.1:1000"), end("192.168.200.230:2001"))));
    let frame = udp(end("10.7.7.1:1000"), end("10.7.7.7:3000"));
    tun.arrive(&without_link_header(&frame));
    collector.signal(rustix::process::Signal::USR1);
    collector.wait_for_line("lost: 0");
    let expected = paths([
        "out/udp/127.0.0.1-PORT-INTERNET-9999",
        "out/tcp/192.168.200.230-PORT-INTERNET-443",
        "in/udp/10.0.0.1-PORT-192.168.200.230-2000",
        "in/udp/10.0.0.1-PORT-192.168.200.230-2001",
        "in/udp/10.7.7.1-PORT-10.7.7.7-3000",
    ]);
    assert_tree("any", collector, &expected);
}

/// The frame with one more 802.1Q tag.
fn tagged(mut frame: Vec<u8>) -> Vec<u8> {
    frame.splice(12..12, [0x81, 0x00, 0x00, 0x07]);
    frame
}

#[test]
fn tags_in_the_bytes_and_in_metadata() {
    // On arrival, the first tag becomes metadata before TC, and libpcap puts it back; on leaving, it
    // stays in the bytes. XDP sees all tags in the bytes.
    for mode in ALL {
        let lab = Lab::new(&[HOST]);
        let mut wire = Wire::of(&lab);
        let collector = Collector::start(&lab.host, mode);
        let arriving = |port| udp(end("10.0.0.1:1000"), SocketAddr::new(ip(HOST), port));
        let leaving =
            |port| udp(SocketAddr::new(ip(HOST), 1000), SocketAddr::new(ip("10.0.0.1"), port));
        wire.arrive(&tagged(arriving(2001)));
        wire.arrive(&tagged(tagged(arriving(2002))));
        wire.arrive(&tagged(tagged(tagged(arriving(2003)))));
        wire.leave(&tagged(leaving(3001)));
        wire.leave(&tagged(tagged(leaving(3002))));
        wire.leave(&tagged(tagged(tagged(leaving(3003)))));
        let mut expected = paths([
            "in/udp/10.0.0.1-PORT-192.168.200.230-2001",
            "in/udp/10.0.0.1-PORT-192.168.200.230-2002",
            "out/udp/192.168.200.230-PORT-10.0.0.1-3001",
            "out/udp/192.168.200.230-PORT-10.0.0.1-3002",
        ]);
        if mode != XDP {
            // Two tags in the frame besides the one in the metadata.
            expected.insert("in/udp/10.0.0.1-PORT-192.168.200.230-2003".to_owned());
        }
        assert_tree(&format!("tags with {mode:?}"), collector, &expected);
    }
}

/// Headers before IP in a provider's network, arriving and leaving.
#[test]
fn other_headers_before_ip() {
    const PPPOE: &[u8] = &[0x88, 0x64, 0x11, 0, 0, 1, 0, 38, 0x00, 0x21];
    const MPLS: &[u8] = &[0x88, 0x47, 0, 1, 0, 64, 0, 1, 1, 64];
    const SNAP: &[u8] = &[0, 44, 0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0x00];
    const OLD_TAG: &[u8] = &[0x91, 0x00, 0, 7, 0x08, 0x00];
    const BACKBONE: &[u8] =
        &[0x88, 0xe7, 0, 0, 0, 7, 2, 0, 0, 0, 0, 8, 2, 0, 0, 0, 0, 9, 0x08, 0x00];
    for mode in ALL {
        let lab = Lab::new(&[HOST]);
        let mut wire = Wire::of(&lab);
        let collector = Collector::start(&lab.host, mode);
        let mut expected = Files::new();
        for (number, header) in (0..).zip([PPPOE, MPLS, SNAP, OLD_TAG, BACKBONE]) {
            let tagged = [&[0x81, 0x00, 0, 7], header].concat();
            for (port, header) in [(2000 + number, header), (3000 + number, &tagged)] {
                let here = SocketAddr::new(ip(HOST), port);
                let there = SocketAddr::new(ip("10.0.0.1"), port);
                wire.arrive(&behind(header, udp(there, here)));
                wire.leave(&behind(header, udp(here, there)));
                expected.insert(format!("in/udp/10.0.0.1-PORT-192.168.200.230-{port}"));
                expected.insert(format!("out/udp/192.168.200.230-PORT-10.0.0.1-{port}"));
            }
        }
        collector.wait_for_files(&expected);
        let ended = collector.stop();
        assert_same_tree(&format!("encapsulated, {mode:?}"), &expected, &ended.files);
        assert_eq!(ended.reported("malformed"), 0, "{}", ended.said);
    }
}

/// The IPv4 frame with its type replaced by these headers.
fn behind(header: &[u8], mut frame: Vec<u8>) -> Vec<u8> {
    frame.splice(12..14, header.iter().copied());
    frame
}

fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

#[test]
fn headers_in_pages() {
    for mode in ALL {
        let lab = Lab::new(&[]);
        let tap = Tun::new(&lab.host, Kind::Tap, HOST);
        let collector = Collector::start_on(&lab.host, TUN, mode);
        let payload = vec![0; 9000];
        for frame in [
            crate::support::frames::udp_with(
                end("10.0.0.1:1000"),
                end("192.168.200.230:2000"),
                &payload,
            ),
            tagged(crate::support::frames::udp_with(
                end("[fd00::1]:1000"),
                end("[2001:db8:200::230]:2001"),
                &payload,
            )),
        ] {
            tap.arrive_in_pages(14, &frame);
        }
        let expected = paths([
            "in/udp/10.0.0.1-PORT-192.168.200.230-2000",
            "else/udp/fd00::1-1000-2001:db8:200::230-2001",
        ]);
        assert_tree(&format!("pages with {mode:?}"), collector, &expected);
    }
}

#[test]
fn headers_in_pages_without_a_link_header() {
    for mode in ALL {
        let lab = Lab::new(&[]);
        let tun = Tun::new(&lab.host, Kind::TunWithHeader, HOST);
        let collector = Collector::start_on(&lab.host, TUN, mode);
        let src = end("10.0.0.1:1000");
        let dst = end("192.168.200.230:2000");
        let frame = crate::support::frames::udp_with(src, dst, &vec![0; 9000]);
        tun.arrive_in_pages(20, &without_link_header(&frame));
        let expected = paths(["in/udp/10.0.0.1-PORT-192.168.200.230-2000"]);
        assert_tree(&format!("tun, pages, {mode:?}"), collector, &expected);
    }
}

#[test]
fn super_packets() {
    const MEGABYTE: usize = 1 << 20;
    for mode in ALL {
        let lab = Lab::new(&[HOST]);
        lab.peer.add_address(crate::support::lab::PEER_DEVICE, "192.168.200.1");
        lab.host.run("ip", &["link", "set", DEVICE, "mtu", "1500"]);
        lab.peer.run("ip", &["link", "set", crate::support::lab::PEER_DEVICE, "mtu", "1500"]);
        let collector = Collector::start(&lab.host, mode);
        transfer(&lab, MEGABYTE);
        let expected = paths(["out/tcp/192.168.200.230-PORT-192.168.200.1-8080"]);
        collector.wait_for_files(&expected);
        let ended = collector.stop();
        assert_same_tree(&format!("super-packets with {mode:?}"), &expected, &ended.files);
        // With packets of 1,500 octets it would be more than 700 one way.
        assert!(ended.reported("packets seen") < 500, "{}", ended.said);
        assert_eq!(ended.reported("malformed"), 0, "{}", ended.said);
    }
}

/// Sends octets over TCP from the host to the peer: with offloads on, in packets of up to 64 KiB.
fn transfer(lab: &Lab, octets: usize) {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    let listener = lab.peer.enter(|| TcpListener::bind(end("192.168.200.1:8080")).expect("bound"));
    let receiver = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accepted");
        let mut received = Vec::new();
        stream.read_to_end(&mut received).expect("received");
        received.len()
    });
    lab.host.enter(|| {
        let mut stream = TcpStream::connect(end("192.168.200.1:8080")).expect("connected");
        stream.write_all(&vec![0; octets]).expect("sent");
    });
    assert_eq!(receiver.join().expect("no panic"), octets);
}
