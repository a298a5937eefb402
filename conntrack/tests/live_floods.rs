//! Floods: what comes in as fast as this machine can send takes no more room than the tree shows of it,
//! nothing of it is lost without being counted, and none of it changes the order of what is handed out.
//! Needs root; bounded in count, and all of it stays in namespaces.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use crate::support::{
    collector::Collector,
    frames::{Tcp, Wire, tcp, udp},
    lab::{DEVICE, Lab},
    usual::{EBPF, HOST, PCAP, XDP, end},
};
use conntrack::source::{
    FlowBatch, Source,
    ebpf::{Chain, EbpfSource, Ingress, Options},
    pcap::live::{self, LiveSource},
};
use conntrack_common::{address::Address, policy::Policy};

/// Where addresses and ports are in an Ethernet frame with an IPv4 header without options.
const SRC: usize = 26;
const DST: usize = 30;
const SRC_PORT: usize = 34;

/// The same frame from this address and port.
fn sent_from(frame: &mut [u8], address: u32, port: u16) {
    frame[SRC..SRC + 4].copy_from_slice(&address.to_be_bytes());
    frame[SRC_PORT..SRC_PORT + 2].copy_from_slice(&port.to_be_bytes());
}

#[test]
fn syns_from_everywhere_are_one_file() {
    const SYNS: u32 = 100_000;
    for arguments in [EBPF, XDP] {
        let lab = Lab::new(&[HOST]);
        let mut wire = Wire::of(&lab);
        // Were they kept apart, all but two would be lost.
        let small = [arguments, &["--max-flows", "2", "-e"]].concat();
        let collector = Collector::start(&lab.host, &small);
        let mut frame = tcp(end("8.8.8.8:1"), end("192.168.200.230:22"), Tcp::Syn);
        for number in 0..SYNS {
            // All over the public address space below 10.0.0.0/8.
            sent_from(&mut frame, 0x0100_0000 + number * 1_009, (number % 65_535) as u16);
            wire.arrive(&frame);
        }
        collector.wait_for_files(&["in/tcp/INTERNET-PORT-192.168.200.230-22".to_owned()].into());
        let ended = collector.stop();
        assert_eq!(ended.files.len(), 1, "{:?}", ended.files);
        assert_eq!(ended.reported("lost"), 0, "{}", ended.said);
        assert!(ended.reported("packets seen") >= SYNS.into(), "{}", ended.said);
    }
}

#[test]
fn of_distinct_flows_each_is_a_file_or_counted_as_lost() {
    const FLOWS: u32 = 30_000;
    for arguments in [EBPF, XDP, PCAP] {
        let lab = Lab::new(&[HOST]);
        let mut wire = Wire::of(&lab);
        let small = [arguments, &["--max-flows", "1000"]].concat();
        let collector = Collector::start(&lab.host, &small);
        let mut frame = udp(end("10.0.0.1:1"), end("10.255.0.1:9"));
        for number in 0..FLOWS {
            sent_from(&mut frame, 0x0a00_0000 + number, 7);
            wire.arrive(&frame);
        }
        let ended = collector.stop();
        let lost = ended.reported("lost");
        assert_eq!(
            ended.files.len() as u64 + lost,
            u64::from(FLOWS),
            "{arguments:?}: {}",
            ended.said
        );
        assert!(lost == 0 || ended.said.contains("warning: "), "{}", ended.said);
    }
}

/// Requests, each with its answer at once, while flows are taken as often as can be.
#[test]
fn no_answer_overtakes_its_request_in_any_drain() {
    const OFTEN: Duration = Duration::from_millis(2);
    let device = [DEVICE.to_owned()];
    let ebpf = |ingress| {
        let options = Options {
            interval: OFTEN,
            max_flows: 65_536,
            ingress,
            chain: Chain::Auto,
            says: false,
            exit_on_device_loss: false,
        };
        EbpfSource::open(&device, options, &Policy::NONE).expect("programs that load")
    };
    let pcap = || {
        let options =
            live::Options { interval: OFTEN, max_flows: 65_536, exit_on_device_loss: false };
        LiveSource::open(&device, options, &Policy::NONE).expect("libpcap")
    };
    assert_in_order(200_000, || ebpf(Ingress::Tc));
    assert_in_order(200_000, || ebpf(Ingress::Xdp));
    assert_in_order(50_000, pcap);
}

fn assert_in_order<S: Source>(pairs: u32, open: impl FnOnce() -> S + Send) {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let mut order = Order::default();
    let answered = Arc::clone(&order.answered_so_far);
    lab.host.enter(|| {
        runtime.expect("a runtime").block_on(async {
            let mut source = open();
            let sender = thread::spawn(move || send_pairs(&mut wire, pairs, &answered));
            while !sender.is_finished() {
                order.check(&source.next_batch().await.expect("flows").expect("a batch"));
            }
            order.check(&source.finish().await.0);
            let losses = source.counters().losses();
            let lost: Option<u64> = losses.iter().map(|loss| loss.packets).sum();
            let found = [order.requested.len(), order.answered.len()];
            assert_eq!(
                (found, lost),
                ([pairs as usize; 2], Some(0)),
                "{}",
                std::any::type_name::<S>()
            );
        });
    });
}

/// Never so far ahead that flows would be lost: a lost request is none that was overtaken.
fn send_pairs(wire: &mut Wire, pairs: u32, answered: &AtomicU32) {
    const AHEAD: u32 = 10_000;
    let mut request = udp(end("192.168.200.230:40000"), end("10.0.0.1:53"));
    let mut answer = udp(end("10.0.0.1:53"), end("192.168.200.230:40000"));
    for number in 0..pairs {
        let server = (0x0a00_0000 + number).to_be_bytes();
        request[DST..DST + 4].copy_from_slice(&server);
        answer[SRC..SRC + 4].copy_from_slice(&server);
        wire.leave(&request);
        wire.arrive(&answer);
        while number - answered.load(Ordering::Relaxed).min(number) > AHEAD {
            thread::yield_now();
        }
    }
}

/// Whom the host has asked so far, and who has answered.
#[derive(Default)]
struct Order {
    requested: HashSet<Address>,
    answered: HashSet<Address>,
    answered_so_far: Arc<AtomicU32>,
}

impl Order {
    fn check(&mut self, batch: &FlowBatch) {
        for flow in &batch.flows {
            if flow.key.dst_port() == 53 {
                self.requested.insert(flow.key.dst());
            } else if flow.key.src_port() == 53 {
                assert!(
                    self.requested.contains(&flow.key.src()),
                    "{flow:?} came before its request"
                );
                self.answered.insert(flow.key.src());
            }
        }
        let answered = u32::try_from(self.answered.len()).expect("not so many");
        self.answered_so_far.store(answered, Ordering::Relaxed);
    }
}
