//! The programs against the user-space parser: the same frames go to the parser and, by `BPF_PROG_TEST_RUN`,
//! to the TC and XDP programs. Flow map, counters and verdict must match the parser's result. Requires root,
//! but no device: nothing is attached.
//!
//! The frames are the same in each run. `PROPTEST_RNG_SEED=<number>` in the environment generates others,
//! `PROPTEST_CASES=<number>` more or fewer. A mismatch is shrunk, then shown as hex with a dissection and
//! both results.
//!
//! Frames that the kernel rejects (`net/bpf/test_run.c`) are left to the parser's tests: those shorter than an
//! Ethernet header and, at TC without a link header, packets that end inside their IP header. TC packets in
//! pages are tested in `live_links.rs`.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::BTreeMap,
    io::Write as _,
    net::{IpAddr, SocketAddr},
};

use crate::support::{
    coarsening,
    frames::{self, Tcp},
    generator::{CUSTOMER_TAG, Ethernet, Frame, IPV4, IPV6, check::check, dissect, strategies},
};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, PerCpuArray},
    programs::{ProgramError, SchedClassifier, TestRun as _, TestRunOptions, Xdp},
};
use conntrack::{
    source::ebpf::{Kind, programs},
    tracker::{Settings, Tracker},
};
use conntrack_common::{
    address::Address,
    counters::{Counters, Loss, NewFlows, Outcome},
    flow::{Direction, FlowKey, Protocol},
    pairs::{Bucket, Place, Secret},
    policy::{Control, Policy},
    rules::{Packet, Says, coarsen, observe},
    seen::{Flow, Seen, Sight},
    wire::{self, LinkLayer, PacketBytes, Skip},
};
use proptest::{collection, option, prop_oneof, sample::select, strategy::Strategy};

/// Frames to compare, each at TC and XDP.
const ETHERNET_FRAMES: u32 = 100_000;
/// The same for packets without a link header.
const IP_PACKETS: u32 = 30_000;
const COARSE_FRAMES: u32 = 20_000;
const CONVERSATIONS: u32 = 1_000;

/// Each frame runs twice: with a new flow, and with a known one. (Not with the kernel's repeat count: for
/// XDP that waits for all other CPUs each time.)
const RUNS: u64 = 2;

/// The only verdicts: `TC_ACT_UNSPEC`, which is -1 (`linux/pkt_cls.h`), and `XDP_PASS`
/// (`linux/bpf.h`).
const UNSPEC: u32 = u32::MAX;
const PASS: u32 = 2;

/// Of the hash of UDP pairs.
const SECRET: Secret = [1, 2];

const ETHERNET_HEADER: usize = 14;
/// TC frames must fit into a page together with headroom and `skb_shared_info`; this does on every machine.
/// XDP takes longer frames, in fragments.
const LONGEST_AT_TC: usize = 3_072;

#[test]
fn parser_tc_and_xdp_agree_on_ethernet_frames() {
    let kernel = RefCell::new(Kernel::load(Kind::Ethernet));
    let corpus = (whole_frames(), first_piece());
    let frames = check(ETHERNET_FRAMES, &corpus, |(frame, first_piece)| {
        let frame = frame.bytes();
        let mut kernel = kernel.borrow_mut();
        let for_tc = for_tc(&frame);
        let told = |frame: &[u8]| Told::about(frame, LinkLayer::Ethernet);
        kernel
            .agrees(Hook::Tc, &for_tc, told(&for_tc))
            .map_err(|no| no + &dissect::ethernet(&for_tc))?;
        let xdp = Hook::Xdp { first_piece };
        kernel.agrees(xdp, &frame, told(&frame)).map_err(|no| no + &dissect::ethernet(&frame))
    });
    let pieces = if kernel.into_inner().takes_pieces { "in pieces" } else { "in one piece" };
    say(&format!("corpus: {frames} frames, tc: 0 mismatches, xdp: 0 mismatches ({pieces})"));
}

/// The kernel tells TC the protocol, which may differ from the packet's.
#[test]
fn parser_and_tc_agree_on_packets_without_a_link_header() {
    let kernel = RefCell::new(Kernel::load(Kind::Tunnel));
    let corpus =
        untagged().prop_filter("the kernel takes it", |frame| !is_cut_in_ip(&frame.bytes()));
    let packets = check(IP_PACKETS, &corpus, |frame| {
        let mut frame = frame.bytes();
        frame.truncate(LONGEST_AT_TC);
        let told = Told::about(&Datagram::behind_ethernet(&frame), LinkLayer::Ip);
        let agrees = kernel.borrow_mut().agrees(Hook::Tc, &frame, told);
        agrees.map_err(|no| no + &dissect::ethernet(&frame))
    });
    say(&format!("corpus without link header: {packets} packets, tc: 0 mismatches"));
}

#[test]
fn parser_and_xdp_agree_on_packets_without_a_link_header() {
    let kernel = RefCell::new(Kernel::load(Kind::Tunnel));
    let bare = strategies::frames().prop_map(|frame| Frame { link: None, ..frame });
    let corpus = (bare.prop_filter("the kernel takes it", is_long_enough), first_piece());
    let packets = check(IP_PACKETS, &corpus, |(packet, first_piece)| {
        let packet = packet.bytes();
        let told = Told::about(&packet[..], LinkLayer::Ip);
        let agrees = kernel.borrow_mut().agrees(Hook::Xdp { first_piece }, &packet, told);
        agrees.map_err(|no| no + &dissect::ip(&packet))
    });
    say(&format!("corpus without link header: {packets} packets, xdp: 0 mismatches"));
}

/// Kernel and user space coarsen keys alike, under any policy.
#[test]
fn coarsening_is_the_same_in_the_kernel() {
    let kernel = RefCell::new(Kernel::load(Kind::Ethernet));
    let corpus = (coarsening::settings(), coarsening::packet());
    let packets = check(COARSE_FRAMES, &corpus, |(settings, packet)| {
        let policy = settings.policy();
        let mut kernel = kernel.borrow_mut();
        kernel.set_policy(&policy);
        let frame = packet.frame();
        let told =
            Told { observed: observe(&frame[..], LinkLayer::Ethernet), unsupported_type: None };
        kernel.agrees(Hook::Tc, &frame, told)?;
        kernel.agrees(Hook::Xdp { first_piece: None }, &frame, told)
    });
    say(&format!("corpus of policies: {packets} packets, tc: 0 mismatches, xdp: 0 mismatches"));
}

/// Datagrams back and forth: which of them answer, and what was answered.
#[test]
fn pairs_are_judged_alike_in_the_kernel() {
    let kernel = RefCell::new(Kernel::load(Kind::Ethernet));
    let mut answers = 0;
    let answers = RefCell::new(&mut answers);
    let conversations = collection::vec(datagram(), 1..40);
    let all = check(CONVERSATIONS, &conversations, |datagrams| {
        let mut kernel = kernel.borrow_mut();
        let mut first: BTreeMap<[SocketAddr; 2], SocketAddr> = BTreeMap::new();
        let mut expected: BTreeMap<FlowKey, Seen> = BTreeMap::new();
        for [src, dst] in &datagrams {
            let mut ends = [*src, *dst];
            ends.sort_unstable();
            let is_answer = *first.entry(ends).or_insert(*src) != *src;
            let key = key(*src, *dst);
            let seen = if is_answer { Seen::REPLIES } else { Seen::OPENS };
            *expected.entry(key).or_default() |= seen;
            if is_answer {
                **answers.borrow_mut() += 1;
                *expected.entry(key.reversed()).or_default() |= Seen::ANSWERED;
            }
            kernel.run(Hook::Tc, &frames::udp(*src, *dst)).expect("run");
        }
        for [src, dst] in &datagrams {
            kernel.forget_pair(&key(*src, *dst));
        }
        let flows = kernel.take_flows();
        let expected: Vec<_> =
            expected.into_iter().map(|(key, seen)| Flow::of(key, seen)).collect();
        if flows == expected {
            return Ok(());
        }
        Err(format!("{datagrams:?}\nkernel: {flows:?}\nexpected: {expected:?}"))
    });
    let answers = answers.into_inner();
    assert!(*answers > all, "only {answers} answers in {all} conversations");
}

/// A part of the flow map is for what is to and from the device.
#[test]
fn a_flood_between_others_leaves_room_for_in_and_out() {
    let mut kernel = Kernel::load(Kind::Ethernet);
    let host: IpAddr = [192, 168, 200, 230].into();
    let mut tracker = Tracker::new(Settings::default(), []);
    tracker.set_local_addresses(&[host].into());
    kernel.set_policy(&tracker.policy(&[host].into()));
    let other = |last, port| SocketAddr::new([10, 0, 0, last].into(), port);
    for hook in [Hook::Tc, Hook::Xdp { first_piece: None }] {
        for port in 1..200 {
            let frame = frames::udp(other(1, port), other(2, 5000));
            kernel.run(hook, &frame).expect("run");
        }
        for port in 1..=8 {
            let arriving = frames::tcp(other(1, 4000), SocketAddr::new(host, port), Tcp::Syn);
            let leaving = frames::tcp(SocketAddr::new(host, 4000), other(1, port), Tcp::Syn);
            kernel.run(hook, &arriving).expect("run");
            kernel.run(hook, &leaving).expect("run");
        }
        let flows = kernel.take_flows();
        let of = |direction| flows.iter().filter(|flow| flow.key.direction() == direction).count();
        assert_eq!(of(Some(Direction::In)), 8, "{hook:?}");
        assert_eq!(of(Some(Direction::Out)), 8, "{hook:?}");
        assert_eq!(of(None), 48, "three quarters of the room are for others: {hook:?}");
    }
}

/// Between few ends, so that most are answered.
fn datagram() -> impl Strategy<Value = [SocketAddr; 2]> {
    let ends = ["10.0.0.1:53", "10.0.0.1:4000", "10.0.0.2:53", "10.0.0.3:53", "255.255.255.255:7"];
    let v4 = ends.map(|end| end.parse().expect("an end"));
    let v6 = ["[fd00::1]:53", "[fd00::1]:4000", "[fd00::2]:53"];
    let v6 = v6.map(|end| end.parse().expect("an end"));
    let end = |ends: Vec<SocketAddr>| (select(ends.clone()), select(ends));
    prop_oneof![end(v4.to_vec()), end(v6.to_vec())].prop_map(|(src, dst)| [src, dst])
}

fn key(src: SocketAddr, dst: SocketAddr) -> FlowKey {
    let end = |end: SocketAddr| (Address::from(end.ip()), end.port());
    FlowKey::new(Protocol::Udp, end(src), end(dst))
}

fn whole_frames() -> impl Strategy<Value = Frame> {
    strategies::frames().prop_filter("the kernel takes it", is_long_enough)
}

/// Without tags: after a tag the kernel sets no network header.
fn untagged() -> impl Strategy<Value = Frame> {
    whole_frames().prop_map(|frame| {
        let untag = |link| Ethernet { tags: Vec::new(), ..link };
        Frame { link: frame.link.map(untag), ..frame }
    })
}

/// End of the linear part of an XDP packet with fragments.
fn first_piece() -> impl Strategy<Value = Option<usize>> {
    option::of(ETHERNET_HEADER..160)
}

fn is_long_enough(frame: &Frame) -> bool {
    frame.bytes().len() >= ETHERNET_HEADER
}

/// The frame for TC. The kernel accepts a truncated IP header only after a tag.
fn for_tc(frame: &[u8]) -> Cow<'_, [u8]> {
    if is_cut_in_ip(frame) {
        let (addresses, rest) = frame.split_at(12);
        let tag = [CUSTOMER_TAG.to_be_bytes(), [0, 7]].concat();
        Cow::Owned([addresses, &tag, rest].concat())
    } else {
        Cow::Borrowed(&frame[..frame.len().min(LONGEST_AT_TC)])
    }
}

/// Linux 6.18 rejects an skb shorter than the header of its `EtherType`.
fn is_cut_in_ip(frame: &[u8]) -> bool {
    match ether_type(frame) {
        IPV4 => frame.len() < ETHERNET_HEADER + 20,
        IPV6 => frame.len() < ETHERNET_HEADER + 40,
        _ => false,
    }
}

fn ether_type(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[12], frame[13]])
}

/// A packet from its network header on, with the kernel's protocol.
struct Datagram<'a> {
    packet: &'a [u8],
    ether_type: u16,
}

impl<'a> Datagram<'a> {
    fn behind_ethernet(frame: &'a [u8]) -> Self {
        Self { packet: &frame[ETHERNET_HEADER..], ether_type: ether_type(frame) }
    }
}

impl PacketBytes for Datagram<'_> {
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.packet.load(offset)
    }

    fn ether_type(&self) -> Option<u16> {
        Some(self.ether_type)
    }
}

/// The program to run.
#[derive(Clone, Copy, Debug)]
enum Hook {
    Tc,
    Xdp { first_piece: Option<usize> },
}

/// The parser's result.
#[derive(Clone, Copy, Debug)]
struct Told {
    observed: Result<Packet, Skip>,
    /// The unsupported `EtherType`.
    unsupported_type: Option<u16>,
}

impl Told {
    fn about(packet: &(impl PacketBytes + ?Sized), link: LinkLayer) -> Self {
        Self {
            observed: observe(packet, link),
            unsupported_type: wire::unsupported_type(packet, link),
        }
    }
}

/// The complete result of a program.
#[derive(Debug, PartialEq)]
struct Answer {
    verdict: u32,
    is_unchanged: bool,
    flows: Vec<Flow>,
    /// In packets.
    counted: Vec<(Outcome, u64)>,
    /// Unsupported `EtherType`s, in packets.
    unread: Vec<(u16, u64)>,
}

impl Answer {
    /// What the programs must say where the parser says this, and nothing was said before.
    fn expected(hook: Hook, told: Told, policy: &Policy) -> Self {
        let verdict = match hook {
            Hook::Tc => UNSPEC,
            Hook::Xdp { .. } => PASS,
        };
        let coarse = |mut flow: Flow| coarsen(&mut flow.key, policy).map(|_direction| flow);
        let kept = told.observed.and_then(|Packet { key, says }| match says.of_reverse() {
            None => coarse(Flow::opened(key)),
            Some(seen) => coarse(Flow::of(key.reversed(), seen)),
        });
        let outcome = match told.observed {
            Ok(packet) if packet.says.of_reverse().is_some() => Outcome::Skipped(Skip::NotOpening),
            _ => kept.map_or_else(Outcome::Skipped, |_| Outcome::Flow),
        };
        Self {
            verdict,
            is_unchanged: true,
            flows: kept.into_iter().collect(),
            counted: vec![(outcome, RUNS)],
            unread: told
                .unsupported_type
                .map(|ether_type| (ether_type, RUNS))
                .into_iter()
                .collect(),
        }
    }
}

/// The loaded programs and their maps.
struct Kernel {
    ebpf: Ebpf,
    kind: Kind,
    flows: HashMap<MapData, FlowKey, Sight>,
    pairs: Array<MapData, Bucket>,
    policies: Array<MapData, Policy>,
    /// The one in force.
    policy: Box<Policy>,
    control: Array<MapData, Control>,
    new_flows: Array<MapData, NewFlows>,
    generation: u32,
    counters: PerCpuArray<MapData, [u64; Outcome::COUNT as usize]>,
    unread: HashMap<MapData, u16, u64>,
    /// As they were when the last frame had been through.
    counted: Counters,
    /// Whether XDP packets can be given in pieces of our choice (Linux 6.18).
    takes_pieces: bool,
}

impl Kernel {
    fn load(kind: Kind) -> Self {
        let mut ebpf = programs(kind, 64, &SECRET).expect("programs that load");
        let flows = ebpf.take_map("FLOWS").expect("flows").try_into().expect("a hash");
        let pairs = ebpf.take_map("PAIRS").expect("pairs").try_into().expect("an array");
        let counters = ebpf.take_map("COUNTERS").expect("counters").try_into().expect("an array");
        let policies = ebpf.take_map("POLICY").expect("policies").try_into().expect("an array");
        let control = ebpf.take_map("CONTROL").expect("control").try_into().expect("an array");
        let unread = ebpf.take_map("UNREAD").expect("unread").try_into().expect("a hash");
        let new_flows = ebpf.take_map("NEW_FLOWS").expect("counts").try_into().expect("an array");
        let mut kernel = Self {
            ebpf,
            kind,
            flows,
            pairs,
            policies,
            policy: Box::new(Policy::NONE),
            control,
            new_flows,
            generation: 0,
            counters,
            unread,
            counted: Counters::default(),
            takes_pieces: true,
        };
        let in_pieces = Hook::Xdp { first_piece: Some(ETHERNET_HEADER) };
        kernel.takes_pieces = kernel.answer(in_pieces, &[0; 60]).is_ok();
        kernel
    }

    /// # Errors
    /// Both results, if they differ.
    fn agrees(&mut self, hook: Hook, frame: &[u8], told: Told) -> Result<(), String> {
        let expected = Answer::expected(hook, told, &self.policy);
        let answer = self.answer(hook, frame);
        if let Ok(Packet { key, says: Says::Datagram }) = told.observed {
            self.forget_pair(&key);
        }
        match answer {
            Ok(answer) if answer == expected => Ok(()),
            Ok(answer) => {
                Err(format!("{hook:?}\nparser: {told:?}, so {expected:?}\nprogram: {answer:?}\n"))
            }
            Err(error) => Err(format!("{hook:?}: the kernel refuses the frame: {error:?}\n")),
        }
    }

    fn answer(&mut self, hook: Hook, frame: &[u8]) -> Result<Answer, ProgramError> {
        self.run(hook, frame)?;
        let (verdict, is_unchanged) = self.run(hook, frame)?;
        Ok(Answer {
            verdict,
            is_unchanged,
            flows: self.take_flows(),
            counted: self.take_counted(),
            unread: self.take_unread(),
        })
    }

    /// The verdict, and whether the frame is unchanged.
    fn run(&self, hook: Hook, frame: &[u8]) -> Result<(u32, bool), ProgramError> {
        let mut out = vec![0; frame.len()];
        let context = self.context(hook, frame);
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: context.as_ref().map(|context| &context[..]),
            ..TestRunOptions::default()
        };
        let result = match hook {
            Hook::Tc => {
                self.program::<SchedClassifier>(self.kind.classifier()).test_run(options)?
            }
            Hook::Xdp { .. } => self.program::<Xdp>(self.kind.xdp()).test_run(options)?,
        };
        let size = usize::try_from(result.data_size_out).expect("a frame's size");
        Ok((result.return_value, size == frame.len() && out == frame))
    }

    /// A `struct xdp_md` (`linux/bpf.h`) with its second field, where the linear data ends.
    fn context(&self, hook: Hook, frame: &[u8]) -> Option<[u8; 24]> {
        let Hook::Xdp { first_piece: Some(end) } = hook else { return None };
        let end = u32::try_from(end.min(frame.len())).expect("a frame's size");
        let mut context = [0; 24];
        context[4..8].copy_from_slice(&end.to_ne_bytes());
        self.takes_pieces.then_some(context)
    }

    fn program<'a, P>(&'a self, name: &str) -> &'a P
    where
        &'a P: TryFrom<&'a aya::programs::Program, Error = ProgramError>,
    {
        self.ebpf.program(name).expect("a program").try_into().expect("of its type")
    }

    fn set_policy(&mut self, policy: &Policy) {
        self.policies.set(0, policy, 0).expect("written");
        *self.policy = *policy;
    }

    fn forget_pair(&mut self, datagram: &FlowKey) {
        let bucket = Place::of(datagram, &SECRET).bucket();
        self.pairs.set(bucket, Bucket::default(), 0).expect("written");
    }

    /// Empties the flow map, and has the programs know it.
    fn take_flows(&mut self) -> Vec<Flow> {
        let entries = self.flows.iter().map(|entry| entry.expect("an entry"));
        let mut flows: Vec<_> = entries.map(|(key, sight)| Flow::of(key, sight.seen)).collect();
        flows.sort_unstable();
        for flow in &flows {
            self.flows.remove(&flow.key).expect("removed");
        }
        self.new_flows.set(0, NewFlows::default(), 0).expect("written");
        self.generation += 1;
        let control = Control { policy: 0, generation: self.generation };
        self.control.set(0, control, 0).expect("written");
        flows
    }

    fn take_unread(&mut self) -> Vec<(u16, u64)> {
        let counted: Vec<_> = self.unread.iter().map(|entry| entry.expect("an entry")).collect();
        for (ether_type, _) in &counted {
            self.unread.remove(ether_type).expect("removed");
        }
        counted
    }

    /// The counters that changed, with the difference.
    fn take_counted(&mut self) -> Vec<(Outcome, u64)> {
        let mut now = Counters::default();
        for cpu in self.counters.get(&0, 0).expect("counters").iter() {
            now.add(cpu);
        }
        let before = std::mem::replace(&mut self.counted, now);
        let now = &self.counted;
        let moved = outcomes().map(|outcome| (outcome, now.get(outcome) - before.get(outcome)));
        moved.filter(|(_, packets)| *packets != 0).collect()
    }
}

fn outcomes() -> impl Iterator<Item = Outcome> {
    let skips = Skip::ALL.into_iter().map(Outcome::Skipped);
    let losses = Loss::ALL.into_iter().map(Outcome::Lost);
    [Outcome::Flow].into_iter().chain(skips).chain(losses)
}

/// Prints a line even if the test passes: the test harness captures only the macros.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("standard error");
}
