//! The central promise: eBPF on TC, eBPF on XDP and libpcap, side by side on one device under mixed
//! traffic, leave the same tree. Needs root.

use std::{
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rustix::process::Signal;

use crate::support::{
    Files, PATIENCE, assert_same_tree,
    collector::Collector,
    evidence::Evidence,
    frames::{Tcp, Wire, tcp, udp},
    lab::{Lab, PEER_DEVICE},
    random::Random,
    usual::{EBPF, PCAP, XDP, pass_first_batch},
    wait_until,
};

const MODES: [&[&str]; 3] = [EBPF, XDP, PCAP];

const HOST: [&str; 2] = ["192.168.200.230", "2001:db8:200::230"];
const PEER: [&str; 2] = ["192.168.200.1", "2001:db8:200::1"];

/// Generated flows; real sockets come on top.
const FLOWS: u32 = 600;

#[test]
fn ebpf_and_libpcap_leave_the_same_tree() {
    let lab = Lab::new(&HOST);
    for address in PEER {
        lab.peer.add_address(PEER_DEVICE, address);
    }
    let mut wire = Wire::of(&lab);
    let collectors = MODES.map(|mode| {
        let settings = ["-u", "45390", "--internal", "198.51.100.0/24"];
        Collector::start(&lab.host, &[mode, &settings].concat())
    });
    pass_first_batch(&mut wire, &collectors.each_ref());

    let mut random = Random(0x5eed);
    for _ in 0..FLOWS {
        conversation(&mut random, &mut wire);
    }
    real_sockets(&lab);
    let sentinels = sentinels(&mut wire);

    let trees = collectors.map(|collector| {
        collector.wait_for_files(&sentinels);
        let ended = collector.stop();
        assert!(ended.status.success(), "{}", ended.said);
        assert_eq!(ended.reported("lost"), 0, "{}", ended.said);
        let words = ended.keeps_evidence().then_some(ended.evidence);
        (ended.files, words)
    });
    let [(tc, tc_words), (xdp, xdp_words), (pcap, pcap_words)] = trees;
    for part in ["in/tcp", "in/udp", "out/tcp", "out/udp", "else/tcp", "else/udp"] {
        let has = |is_v6: bool| {
            tc.iter().any(|path| path.starts_with(part) && path.contains(':') == is_v6)
        };
        assert!(has(false) && has(true), "a family is missing in {part}: {tc:#?}");
    }
    assert!(tc.len() > 200, "only {} files", tc.len());
    assert_same_tree("libpcap against TC", &tc, &pcap);
    assert_same_tree("XDP against TC", &tc, &xdp);
    let (Some(tc_words), Some(xdp_words), Some(pcap_words)) = (tc_words, xdp_words, pcap_words)
    else {
        return;
    };
    assert_eq!(in_either_order(&pcap_words), in_either_order(&tc_words), "libpcap against TC");
    assert_eq!(in_either_order(&xdp_words), in_either_order(&tc_words), "XDP against TC");
    for word in ["answered", "refused", "reply", ""] {
        let times = tc_words.values().filter(|it| *it == word).count();
        assert!(times > 3, "{word:?} is only {times} of {}", tc_words.len());
    }
}

#[test]
fn a_start_in_the_middle_of_conversations_takes_no_answer_for_a_request() {
    for (mode, udp_direction) in
        MODES.into_iter().flat_map(|mode| [(mode, "ports"), (mode, "pairs")])
    {
        let settings = [mode, &["--udp-direction", udp_direction]].concat();
        start_in_the_middle(&[&settings[..], &["--interval", "10ms"]].concat(), |_| {});
        // It does not get to run until the first interval is over.
        start_in_the_middle(&settings, |collector| {
            collector.signal(Signal::STOP);
            thread::sleep(3 * Duration::from_millis(100));
            collector.signal(Signal::CONT);
        });
    }
}

/// A thousand questions and answers a second, while the collector starts and `hold_up` is done to it.
fn start_in_the_middle(arguments: &[&str], hold_up: impl FnOnce(&Collector)) {
    let lab = Lab::new(&HOST);
    let mut wire = Wire::of(&lab);
    let is_over = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        scope.spawn(|| {
            let server = end("10.0.0.1", 53);
            for port in (1024..=u16::MAX).cycle() {
                let client = end(HOST[0], port);
                wire.leave(&udp(client, server));
                thread::sleep(Duration::from_micros(500));
                wire.arrive(&udp(server, client));
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let collector = Collector::start(&lab.host, arguments);
        hold_up(&collector);
        collector.wait_for_files(&["out/udp/192.168.200.230-PORT-10.0.0.1-53".to_owned()].into());
        let ended = collector.stop();
        is_over.store(true, Ordering::Relaxed);
        ended
    });
    let answers = ended.files.iter().filter(|file| file.starts_with("in/udp/")).count();
    assert_eq!(answers, 0, "{arguments:?}: answers were taken for requests");
}

#[test]
fn no_answer_overtakes_its_request() {
    // Drains as often as possible, of a map that is never empty, while pairs of request and answer are
    // sent: if the answer were handled first, it would be an incoming flow.
    const FILLERS: u16 = 10;
    for mode in MODES {
        let lab = Lab::new(&HOST);
        let mut wire = Wire::of(&lab);
        let collector = Collector::start(&lab.host, &[mode, &["--interval", "10ms"]].concat());
        pass_first_batch(&mut wire, &[&collector]);
        let host = end(HOST[0], 40_000);
        for port in 1..1024 {
            let server = end("10.0.0.1", port);
            wire.leave(&udp(host, server));
            wire.arrive(&udp(server, host));
            for filler in 0..FILLERS {
                wire.arrive(&udp(end("10.1.0.1", port), end("10.2.0.1", 2000 + filler)));
            }
        }
        collector.wait_for_files(&sentinels(&mut wire));
        // The others come last, and a file system may be slow.
        let others = 1023 * usize::from(FILLERS);
        let is_there =
            |files: &Files| files.iter().filter(|it| it.starts_with("else/udp/")).count();
        let all_there = || is_there(&collector.files()) >= others;
        assert!(wait_until(PATIENCE, all_there), "{mode:?}: others are missing");
        let ended = collector.stop();
        assert_eq!(ended.reported("lost"), 0, "{mode:?}: {}", ended.said);
        let count = |part: &str| ended.files.iter().filter(|path| path.starts_with(part)).count();
        assert_eq!(count("out/udp/"), 1023, "{mode:?}");
        assert_eq!(count("else/udp/"), others, "{mode:?}");
        assert_eq!(count("in/udp/"), 0, "{mode:?}: answers were taken for requests");
    }
}

/// Words without who spoke first in UDP: where a datagram leaves while another arrives, hooks may see them in
/// another order.
fn in_either_order(words: &Evidence) -> Evidence {
    let word = |(path, word): (&String, &String)| {
        let is_paired = path.contains("/udp/") && matches!(word.as_str(), "answered" | "reply");
        (path.clone(), if is_paired { "paired".to_owned() } else { word.clone() })
    };
    words.iter().map(word).collect()
}

fn port(random: &mut Random) -> u16 {
    const WELL_KNOWN: [u16; 9] = [0, 53, 123, 161, 443, 1023, 1024, 5353, 45390];
    match random.next() % 3 {
        0 => (random.next() >> 48) as u16,
        _ => random.pick(&WELL_KNOWN),
    }
}

/// An address that is not the host's, of the internet or of a private network.
fn stranger(random: &mut Random, v6: bool) -> IpAddr {
    const V4: [&str; 5] = ["203.0.113", "198.51.100", "10.0.0", "172.31.255", "224.0.0"];
    const V6: [&str; 4] = ["2001:db8:7", "2a00:1", "fd00:1", "fe80:"];
    let last = random.next() % 6 + 1;
    let text = if v6 {
        format!("{}::{last}", random.pick(&V6).trim_end_matches(':'))
    } else {
        format!("{}.{last}", random.pick(&V4))
    };
    text.parse().unwrap_or_else(|_| panic!("{text}"))
}

/// A packet in a random direction, often with the packets that would follow it.
fn conversation(random: &mut Random, wire: &mut Wire) {
    let v6 = random.next().is_multiple_of(2);
    let host: IpAddr = HOST[usize::from(v6)].parse().expect("an address");
    let other = SocketAddr::new(stranger(random, v6), port(random));
    let host = SocketAddr::new(host, port(random));
    match random.next() % 8 {
        0 => {
            wire.leave(&tcp(host, other, Tcp::Syn));
            wire.arrive(&tcp(other, host, Tcp::SynAck));
            wire.leave(&tcp(host, other, Tcp::Ack));
        }
        1 => {
            wire.arrive(&tcp(other, host, Tcp::Syn));
            wire.leave(&tcp(host, other, Tcp::SynAck));
        }
        2 => {
            wire.leave(&udp(host, other));
            wire.arrive(&udp(other, host));
        }
        3 => wire.arrive(&udp(other, host)),
        4 => {
            let another = SocketAddr::new(stranger(random, v6), port(random));
            wire.arrive(&udp(other, another));
            wire.arrive(&tcp(other, another, Tcp::Syn));
        }
        5 => {
            wire.arrive(&tcp(other, host, Tcp::Syn));
            wire.leave(&tcp(host, other, Tcp::Reset));
        }
        6 => {
            wire.arrive(&udp(other, host));
            wire.leave(&udp(host, other));
            wire.arrive(&udp(other, host));
        }
        _ => wire.arrive(&tcp(other, host, Tcp::Ack)),
    }
}

/// Connections and datagrams through the sockets of both namespaces.
fn real_sockets(lab: &Lab) {
    for (host, peer) in HOST.into_iter().zip(PEER) {
        let listener = lab.peer.enter(|| TcpListener::bind(end(peer, 8443)).expect("bound"));
        lab.host.enter(|| TcpStream::connect(end(peer, 8443)).expect("connected"));
        drop(listener);
        let listener = lab.host.enter(|| TcpListener::bind(end(host, 2222)).expect("bound"));
        lab.peer.enter(|| TcpStream::connect(end(host, 2222)).expect("connected"));
        drop(listener);
        let server = lab.peer.enter(|| UdpSocket::bind(end(peer, 514)).expect("bound"));
        lab.host.enter(|| {
            let client = UdpSocket::bind(end(host, 0)).expect("bound");
            client.send_to(b"question", end(peer, 514)).expect("sent");
            let mut question = [0; 8];
            let (_, client_end) = server.recv_from(&mut question).expect("received");
            server.send_to(b"answer", client_end).expect("sent");
            client.recv(&mut question).expect("answered");
        });
    }
}

/// The last flows, one in each direction of the wire: once they are in the tree, all others are.
fn sentinels(wire: &mut Wire) -> Files {
    let host = end(HOST[0], 61_000);
    let stranger = end("10.9.9.9", 61_001);
    wire.leave(&tcp(host, stranger, Tcp::Syn));
    wire.arrive(&tcp(stranger, host, Tcp::Syn));
    let paths = [
        "out/tcp/192.168.200.230-PORT-10.9.9.9-61001",
        "in/tcp/10.9.9.9-PORT-192.168.200.230-61000",
    ];
    paths.map(str::to_owned).into()
}

fn end(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}
