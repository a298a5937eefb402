//! What came of connections in a capture file, against a judge that remembers every packet: no flow map,
//! no table of pairs, no batches. It knows the rules from the README and nothing of the program.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    net::SocketAddr,
    path::Path,
};

use crate::support::{
    conntrack,
    evidence::{Evidence, evidence},
    frames::{Tcp, tcp, udp},
    random::Random,
};

const LOCAL: [&str; 2] = ["192.168.200.230", "2001:db8:200::230"];
const OTHERS: [&str; 6] =
    ["10.0.0.1", "10.0.0.2", "203.0.113.7", "198.51.100.9", "fd00::1", "2a00::1"];
const PORTS: [u16; 6] = [22, 53, 123, 443, 5000, 40_000];

const PACKETS: u32 = 4_000;

/// One packet of the capture.
#[derive(Clone, Copy)]
struct Packet {
    /// Milliseconds since the capture began.
    at: u64,
    src: SocketAddr,
    dst: SocketAddr,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Udp,
    Syn,
    SynAck,
    Reset,
}

impl Packet {
    fn frame(&self) -> Vec<u8> {
        match self.kind {
            Kind::Udp => udp(self.src, self.dst),
            Kind::Syn => tcp(self.src, self.dst, Tcp::Syn),
            Kind::SynAck => tcp(self.src, self.dst, Tcp::SynAck),
            Kind::Reset => tcp(self.src, self.dst, Tcp::Reset),
        }
    }
}

/// Conversations between few ends, some of them with long pauses.
fn packets() -> Vec<Packet> {
    let mut random = Random(0x0ac1e);
    let mut packets = Vec::new();
    let mut at = 0;
    for _ in 0..PACKETS {
        at += random.pick(&[1, 10, 100, 4_000]);
        let v6 = random.next().is_multiple_of(3);
        let end = |random: &mut Random, addresses: &[&str]| {
            let fitting: Vec<_> = addresses.iter().filter(|it| it.contains(':') == v6).collect();
            let address = random.pick(&fitting).parse().expect("an address");
            SocketAddr::new(address, random.pick(&PORTS))
        };
        let other = end(&mut random, &OTHERS);
        let own = if random.next().is_multiple_of(4) {
            end(&mut random, &OTHERS)
        } else {
            end(&mut random, &LOCAL)
        };
        let (src, dst) = if random.next().is_multiple_of(2) { (own, other) } else { (other, own) };
        if random.next().is_multiple_of(2) {
            // From a port that few use, so that some files hold nothing but answers.
            let port = u16::try_from(random.next() % 40).expect("small") + 50_000;
            let src = SocketAddr::new(src.ip(), port);
            packets.push(Packet { at, src, dst, kind: Kind::Udp });
            if random.next().is_multiple_of(2) {
                packets.push(Packet { at, src: dst, dst: src, kind: Kind::Udp });
            }
            continue;
        }
        packets.push(Packet { at, src, dst, kind: Kind::Syn });
        match random.next() % 3 {
            0 => packets.push(Packet { at, src: dst, dst: src, kind: Kind::SynAck }),
            1 => packets.push(Packet { at, src: dst, dst: src, kind: Kind::Reset }),
            _ => {}
        }
    }
    packets
}

/// A classic pcap file of Ethernet frames.
fn write_capture(path: &Path, packets: &[Packet]) {
    const BEGIN: u64 = 1_700_000_000_000;
    let mut bytes = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        bytes.extend(word.to_le_bytes());
    }
    for packet in packets {
        let frame = packet.frame();
        let at = BEGIN + packet.at;
        let length = u32::try_from(frame.len()).expect("a frame's length");
        let seconds = u32::try_from(at / 1000).expect("before 2106");
        let microseconds = u32::try_from(at % 1000 * 1000).expect("below a second");
        for word in [seconds, microseconds, length, length] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    fs::write(path, bytes).expect("written");
}

/// The judge.
#[derive(Default)]
struct Judge {
    /// Who spoke first, when the last was said, and whether there was an answer.
    conversations: HashMap<[SocketAddr; 2], (SocketAddr, u64, bool)>,
    asked_ports: BTreeSet<u16>,
    files: BTreeSet<String>,
    answered: BTreeSet<String>,
    refused: BTreeSet<String>,
    /// Files of which a datagram was seen that is no answer.
    asking: BTreeSet<String>,
    /// Answered before there was a file, as where the question came from a port that makes it look like
    /// an answer: whether the file has the word depends on when it comes.
    early: BTreeSet<String>,
}

impl Judge {
    fn see(&mut self, packet: &Packet) {
        let Packet { src, dst, kind, .. } = *packet;
        match kind {
            Kind::Udp => self.see_datagram(packet),
            Kind::Syn => {
                let path = path("tcp", src, dst);
                self.asking.insert(path.clone());
                self.files.insert(path);
            }
            Kind::SynAck => drop(self.answered.insert(path("tcp", dst, src))),
            Kind::Reset => drop(self.refused.insert(path("tcp", dst, src))),
        }
    }

    fn see_datagram(&mut self, packet: &Packet) {
        let Packet { at, src, dst, .. } = *packet;
        let is_answer = self.is_answer(at, src, dst);
        if is_answer {
            let path = path("udp", dst, src);
            if !self.files.contains(&path) {
                self.early.insert(path.clone());
            }
            self.answered.insert(path);
        }
        if is_local(src) {
            if dst.port() < 1024 {
                self.asked_ports.insert(dst.port());
            }
        } else if is_local(dst) && self.asked_ports.contains(&src.port()) {
            return;
        }
        let path = path("udp", src, dst);
        if !is_answer {
            self.asking.insert(path.clone());
        }
        self.files.insert(path);
    }

    /// As netfilter has it: 30 s after the last datagram, 120 s once there was an answer.
    fn is_answer(&mut self, at: u64, src: SocketAddr, dst: SocketAddr) -> bool {
        let mut ends = [src, dst];
        ends.sort_unstable();
        let (first, last, was_answered) =
            self.conversations.get(&ends).copied().unwrap_or((src, at, false));
        let life = if was_answered { 120_000 } else { 30_000 };
        if at - last > life {
            self.conversations.insert(ends, (src, at, false));
            return false;
        }
        let is_answer = first != src;
        self.conversations.insert(ends, (first, at, was_answered || is_answer));
        is_answer
    }

    fn words(&self) -> Evidence {
        let word = |path: &String| {
            let word = if self.answered.contains(path) {
                "answered"
            } else if self.refused.contains(path) {
                "refused"
            } else if self.asking.contains(path) {
                ""
            } else {
                "reply"
            };
            (path.clone(), word.to_owned())
        };
        self.files.iter().map(word).collect()
    }
}

fn is_local(end: SocketAddr) -> bool {
    LOCAL.contains(&end.ip().to_string().as_str())
}

/// Where a connection is in the tree.
fn path(protocol: &str, src: SocketAddr, dst: SocketAddr) -> String {
    let shown = |end: SocketAddr| {
        let address = end.ip().to_string();
        let is_internet = ["203.", "198.", "2a00:"].iter().any(|start| address.starts_with(start));
        if is_internet { "INTERNET".to_owned() } else { address }
    };
    let from = src.ip();
    let to = dst.ip();
    let src_port = src.port();
    let port = dst.port();
    if is_local(src) {
        format!("out/{protocol}/{from}-PORT-{}-{port}", shown(dst))
    } else if is_local(dst) {
        format!("in/{protocol}/{}-PORT-{to}-{port}", shown(src))
    } else {
        format!("else/{protocol}/{from}-{src_port}-{to}-{port}")
    }
}

/// Pauses near a time-out are nobody's to judge to the second.
fn is_clear(packets: &[Packet]) -> Vec<Packet> {
    let mut last: HashMap<[SocketAddr; 2], u64> = HashMap::new();
    let mut clear = Vec::new();
    for packet in packets {
        let mut ends = [packet.src, packet.dst];
        ends.sort_unstable();
        let pause = last.get(&ends).map(|last| packet.at - last);
        let is_near =
            |pause: u64| (28_000..31_000).contains(&pause) || (118_000..121_000).contains(&pause);
        if packet.kind == Kind::Udp && pause.is_some_and(is_near) {
            continue;
        }
        last.insert(ends, packet.at);
        clear.push(*packet);
    }
    clear
}

#[test]
fn the_words_of_a_capture_are_those_of_a_judge_that_remembers_everything() {
    let packets = is_clear(&packets());
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let capture = scratch.path().join("capture");
    let tree = scratch.path().join("tree");
    write_capture(&capture, &packets);
    let mut program = conntrack();
    program.arg("-p").arg(&tree).arg("-r").arg(&capture);
    let output = program.args(["--local", LOCAL[0], "--local", LOCAL[1]]).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let mut judge = Judge::default();
    for packet in &packets {
        judge.see(packet);
    }
    let expected = judge.words();
    let found = evidence(&tree);
    let differences: BTreeMap<_, _> = expected
        .iter()
        .filter(|(path, word)| found.get(*path) != Some(word) && !judge.early.contains(*path))
        .map(|(path, word)| (path, (word, found.get(path))))
        .collect();
    assert_eq!(differences, BTreeMap::new(), "judge, program");
    assert_eq!(expected.len(), found.len());
    assert!(judge.early.len() < expected.len() / 3, "{} came early", judge.early.len());
    for word in ["answered", "refused", "reply", ""] {
        let times = found.values().filter(|it| *it == word).count();
        assert!(times >= 5, "{word:?} is only {times} of {}", found.len());
    }
}
