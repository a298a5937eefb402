//! What is attached stays attached, and sees: somebody else takes our programs away, puts others before
//! them, or leaves no room for them. Needs root.

use std::{fs, net::SocketAddr, path::Path};

use aya::{
    Ebpf,
    programs::{
        SchedClassifier, TcAttachType,
        tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle},
    },
};
use conntrack::source::ebpf::{Kind, programs};
use rustix::process::Signal;

use crate::support::{
    Files, PATIENCE, assert_same_tree,
    bpf::{Foreign, Hook, Verdict, detach_first, number_on},
    collector::Collector,
    exposition::Exposition,
    frames::{Wire, udp},
    lab::{DEVICE, Lab},
    usual::{CLSACT, EBPF, HOST, PCAP, TCX, XDP, end, request},
    wait_until,
};

/// Packets of both directions, each of which shows in the tree.
struct Probe {
    wire: Wire,
    port: u16,
    sent: Files,
}

impl Probe {
    fn of(lab: &Lab) -> Self {
        Self { wire: Wire::of(lab), port: 1000, sent: Files::new() }
    }

    /// The files of the next packets, which are sent.
    fn send(&mut self) -> Files {
        self.port += 1;
        let port = self.port;
        self.wire.leave(&request(port).0);
        self.wire
            .arrive(&udp(end("10.0.0.1:40000"), SocketAddr::new(end("10.0.0.2:9").ip(), port)));
        let mut files = request(port).1;
        files.insert(format!("else/udp/10.0.0.1-40000-10.0.0.2-{port}"));
        self.sent.extend(files.clone());
        files
    }

    /// Both directions are seen.
    #[track_caller]
    fn is_seen(&mut self, collector: &Collector) {
        let files = self.send();
        collector.wait_for_files(&files);
    }
}

/// Value of the metric that counts how often something was attached again.
fn reattached(metrics: &Path) -> u64 {
    let text = fs::read_to_string(metrics).expect("metrics");
    let page = Exposition::parse(&text);
    let value = page.value("conntrack_reattached_total", Some(("cause", "taken_away")));
    format!("{value:.0}").parse().expect("a whole number")
}

type TakeAway<'a> = &'a dyn Fn(&Lab);

/// Each is taken away, again and again; every time it is back and both directions are seen.
fn comes_back(way: &[&str], hooks: &[(&str, TakeAway<'_>)]) {
    let lab = Lab::new(&[HOST]);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let metrics = scratch.path().join("it.prom");
    let writes = ["--metrics-file", metrics.to_str().expect("UTF-8")];
    let mut collector = Collector::start(&lab.host, &[way, &writes].concat());
    let mut probe = Probe::of(&lab);
    probe.is_seen(&collector);
    let mut times = 0;
    for _twice in 0..2 {
        for (what, take_away) in hooks {
            take_away(&lab);
            times += 1;
            if times == 1 {
                let said = collector.wait_for_line("taken off ct-host by somebody else");
                assert!(said.ends_with(&format!(", and attached again: {what}")), "{said}");
            }
            let is_counted = wait_until(PATIENCE, || reattached(&metrics) == times);
            assert!(is_counted, "{what}: {} of {times}", reattached(&metrics));
            probe.is_seen(&collector);
        }
    }
    let ended = collector.stop();
    assert!(ended.status.success(), "{}", ended.said);
    assert_eq!(ended.said.matches("taken off").count(), 1, "once an episode: {}", ended.said);
    assert_eq!(ended.reported("lost"), 0, "{}", ended.said);
    assert_same_tree("what was sent", &probe.sent, &ended.files);
    assert_eq!(lab.hooks(), "", "nothing stays behind");
    assert!(!lab.xdp());
}

fn tc(lab: &Lab, command: &str) -> String {
    lab.host.run("tc", &command.split_whitespace().collect::<Vec<_>>())
}

#[test]
fn tcx_links_that_are_detached_come_back() {
    comes_back(
        TCX,
        &[
            ("the TCX program on arriving packets", &|lab| {
                detach_first(&lab.host, DEVICE, Hook::Ingress);
            }),
            ("the TCX program on leaving packets", &|lab| {
                detach_first(&lab.host, DEVICE, Hook::Egress);
            }),
        ],
    );
}

#[test]
fn filters_that_are_deleted_come_back() {
    comes_back(
        CLSACT,
        &[
            ("the TC filter on leaving packets and the TC filter on arriving packets", &|lab| {
                tc(lab, "qdisc delete dev ct-host clsact");
            }),
            ("the TC filter on arriving packets", &|lab| {
                tc(lab, "filter delete dev ct-host ingress");
            }),
            ("the TC filter on leaving packets", &|lab| {
                tc(lab, "filter delete dev ct-host egress");
            }),
        ],
    );
}

#[test]
fn xdp_links_that_are_detached_come_back() {
    comes_back(
        XDP,
        &[
            ("the XDP program", &|lab| detach_first(&lab.host, DEVICE, Hook::Xdp)),
            ("the TCX program on leaving packets", &|lab| {
                detach_first(&lab.host, DEVICE, Hook::Egress);
            }),
        ],
    );
}

#[test]
fn what_cannot_be_attached_again_is_an_error_at_the_third_try() {
    let lab = Lab::new(&[HOST]);
    let mut collector = Collector::start(&lab.host, XDP);
    let mut probe = Probe::of(&lab);
    probe.is_seen(&collector);
    // Faster than it can come back.
    collector.signal(Signal::STOP);
    detach_first(&lab.host, DEVICE, Hook::Xdp);
    let _theirs = Foreign::new(&lab.host, DEVICE, Hook::Xdp, Verdict::Next);
    collector.signal(Signal::CONT);
    collector.wait_for_line("cannot be attached again yet");
    probe.wire.leave(&request(80).0);
    let ended = collector.ended();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.said);
    let error = ended.said.lines().last().expect("an error");
    assert!(
        error.contains(
            "ct-host is not watched any more; taken off by somebody else: the XDP program"
        ),
        "{error}"
    );
    assert!(error.contains("already has an XDP program; use --hook tc"), "{error}");
    probe.sent.extend(request(80).1);
    assert_same_tree("what was seen up to then", &probe.sent, &ended.files);
    assert!(lab.xdp(), "theirs stays");
}

/// Somebody else who attaches filters, with a program that is called as ours.
struct Foreigner<'a> {
    lab: &'a Lab,
    programs: Option<Ebpf>,
}

impl<'a> Foreigner<'a> {
    fn new(lab: &'a Lab, attach: impl FnOnce(&mut SchedClassifier) + Send) -> Self {
        let programs = lab.host.enter(|| {
            let mut programs = programs(Kind::Ethernet, 16, &[1, 2]).expect("programs");
            let program =
                programs.program_mut(Kind::Ethernet.classifier()).expect("one of this name");
            attach(program.try_into().expect("a classifier"));
            programs
        });
        Self { lab, programs: Some(programs) }
    }
}

/// What aya detaches, it detaches in the namespace that it is in.
impl Drop for Foreigner<'_> {
    fn drop(&mut self) {
        self.lab.host.enter(|| drop(self.programs.take()));
    }
}

#[test]
fn a_filter_whose_program_somebody_replaced_is_theirs() {
    let lab = Lab::new(&[HOST]);
    let collector = Collector::start(&lab.host, CLSACT);
    let mut probe = Probe::of(&lab);
    probe.is_seen(&collector);
    let shown = tc(&lab, "filter show dev ct-host egress");
    let word_after = |word: &str| {
        let mut words = shown.split_whitespace().skip_while(|it| *it != word).skip(1);
        words.next().expect("a word").to_owned()
    };
    let (priority, handle) = (word_after("pref"), word_after("handle"));
    let _theirs = Foreigner::new(&lab, |program| {
        let handle = u32::from_str_radix(handle.trim_start_matches("0x"), 16).expect("a handle");
        // What is to be replaced is given to aya as a link of its own.
        let link = SchedClassifierLink::attached(
            DEVICE,
            TcAttachType::Egress,
            priority.parse().expect("a number"),
            TcHandle::from(handle),
            None,
        );
        program.attach_to_link(link.expect("a link")).expect("replaced");
    });
    let is_back = wait_until(PATIENCE, || lab.hooks().matches("direct-action").count() == 3);
    assert!(is_back, "ours beside theirs: {}", lab.hooks());
    probe.is_seen(&collector);
    collector.stop();
    let left = lab.hooks();
    assert_eq!(left.matches("direct-action").count(), 1, "theirs stays: {left}");
}

#[test]
fn another_s_program_of_our_name_is_left_alone() {
    let lab = Lab::new(&[HOST]);
    tc(&lab, "qdisc add dev ct-host clsact");
    let _theirs = Foreigner::new(&lab, |program| {
        for (side, handle) in [(TcAttachType::Ingress, 7), (TcAttachType::Egress, 8)] {
            let handle = TcHandle::from(handle);
            let options = NlOptions { priority: 0, handle, classid: None };
            let options = TcAttachOptions::Netlink(options);
            program.attach_with_options(DEVICE, side, options).expect("attached");
        }
    });
    let before = lab.hooks();
    assert_eq!(before.matches("conntrack direct-action").count(), 2, "of our name: {before}");
    let collector = Collector::start(&lab.host, CLSACT);
    let mut probe = Probe::of(&lab);
    probe.is_seen(&collector);
    collector.stop();
    assert_eq!(lab.hooks(), before);
}

/// Accepts every IP packet: filters after it are not asked.
fn accepting(side: &str, priority: u16) -> String {
    format!(
        "filter add dev ct-host {side} protocol ip prio {priority} u32 match u32 0 0 flowid 1:1"
    )
}

#[test]
fn ours_comes_before_filters_that_were_there() {
    let lab = Lab::new(&[HOST]);
    tc(&lab, "qdisc add dev ct-host clsact");
    for side in ["ingress", "egress"] {
        tc(&lab, &accepting(side, 2));
        tc(&lab, &accepting(side, 40_000));
    }
    let before = lab.hooks();
    let collector = Collector::start(&lab.host, CLSACT);
    let mut probe = Probe::of(&lab);
    probe.is_seen(&collector);
    let ended = collector.stop();
    assert!(!ended.said.contains("comes before ours"), "{}", ended.said);
    assert_eq!(lab.hooks(), before);
}

#[test]
fn beside_a_program_with_the_first_priority_ours_comes_first() {
    let lab = Lab::new(&[HOST]);
    tc(&lab, "qdisc add dev ct-host clsact");
    for side in ["ingress", "egress"] {
        // Classic BPF: return -1, which is a match, and accepts.
        let bytecode = "1,6 0 0 4294967295";
        let filter =
            ["filter", "add", "dev", DEVICE, side, "prio", "1", "bpf", "bytecode", bytecode];
        lab.host.run("tc", &filter);
    }
    let collector = Collector::start(&lab.host, CLSACT);
    let mut probe = Probe::of(&lab);
    probe.is_seen(&collector);
    collector.stop();
    assert!(lab.hooks().matches("bytecode").count() == 2, "{}", lab.hooks());
}

#[test]
fn where_the_first_place_is_another_s_it_is_said() {
    let lab = Lab::new(&[HOST]);
    tc(&lab, "qdisc add dev ct-host clsact");
    for side in ["ingress", "egress"] {
        tc(&lab, &accepting(side, 1));
    }
    let mut collector = Collector::start(&lab.host, CLSACT);
    let theirs = "the TC filter of kind u32 with priority 1 on arriving packets";
    collector.wait_for_line(&format!("{theirs} of ct-host comes before ours"));
    let mut probe = Probe::of(&lab);
    let blind = send_until(&mut probe, &mut collector, "and none of them was seen");
    assert!(blind.contains(theirs) && blind.contains("in the first place"), "{blind}");
    let ended = collector.stop();
    assert_eq!(ended.said.matches("none of them was seen").count(), 1, "{}", ended.said);
    assert!(ended.files.is_empty());
}

/// Sends until it says this.
#[track_caller]
fn send_until(probe: &mut Probe, collector: &mut Collector, text: &str) -> String {
    let mut said = None;
    let is_said = wait_until(PATIENCE, || {
        probe.send();
        said = collector.line_so_far(text);
        said.is_some()
    });
    assert!(is_said, "it never said {text:?}");
    said.expect("said")
}

#[test]
fn what_comes_before_ours_later_is_overtaken() {
    let lab = Lab::new(&[HOST]);
    let mut collector = Collector::start(&lab.host, CLSACT);
    let mut probe = Probe::of(&lab);
    probe.is_seen(&collector);
    for side in ["ingress", "egress"] {
        tc(&lab, &accepting(side, 5));
    }
    let said = send_until(&mut probe, &mut collector, "and none of them was seen");
    assert!(said.contains("ours is put first now"), "{said}");
    probe.is_seen(&collector);
    collector.stop();
    assert_eq!(lab.hooks().matches("direct-action").count(), 0, "{}", lab.hooks());
}

#[test]
fn tcx_programs_that_come_before_ours_are_said_and_overtaken() {
    let lab = Lab::new(&[HOST]);
    let mut collector = Collector::start(&lab.host, TCX);
    let mut probe = Probe::of(&lab);
    probe.is_seen(&collector);
    let _theirs = [Hook::Ingress, Hook::Egress]
        .map(|hook| Foreign::new(&lab.host, DEVICE, hook, Verdict::Accept));
    let said = send_until(&mut probe, &mut collector, "and none of them was seen");
    assert!(said.contains("the TCX program with id "), "{said}");
    assert!(said.contains("ours is put first now"), "{said}");
    probe.is_seen(&collector);
    let ended = collector.stop();
    assert!(ended.status.success(), "{}", ended.said);
}

#[test]
fn an_xdp_program_that_comes_before_ours_is_said() {
    for way in [TCX, CLSACT] {
        let lab = Lab::new(&[HOST]);
        let _theirs = Foreign::new(&lab.host, DEVICE, Hook::Xdp, Verdict::Drop);
        let mut collector = Collector::start(&lab.host, way);
        collector.wait_for_line("on arriving packets of ct-host comes before ours");
        let mut wire = Wire::of(&lab);
        let arriving = udp(end("10.0.0.1:40000"), end("10.0.0.2:9"));
        let mut said = None;
        let is_said = wait_until(PATIENCE, || {
            wire.arrive(&arriving);
            said = collector.line_so_far("and none of them was seen");
            said.is_some()
        });
        assert!(is_said, "{way:?}: it is blind in silence");
        let said = said.expect("said");
        assert!(said.contains("the XDP program with id "), "{said}");
        collector.stop();
    }
}

#[test]
fn where_something_is_seen_nothing_is_said() {
    for way in [TCX, CLSACT, XDP, PCAP] {
        let lab = Lab::new(&[HOST]);
        let collector = Collector::start(&lab.host, &[way, &["--interval", "20ms"]].concat());
        let mut probe = Probe::of(&lab);
        for _ in 0..30 {
            probe.is_seen(&collector);
        }
        let ended = collector.stop();
        assert!(!ended.said.contains("was seen"), "{way:?}: {}", ended.said);
        assert!(!ended.said.contains("before ours"), "{way:?}: {}", ended.said);
        assert_eq!(ended.reported("flows recorded"), 60, "{way:?}: {}", ended.said);
    }
}

#[test]
fn attaching_is_all_or_nothing() {
    let lab = Lab::new(&[HOST]);
    let another = || Foreign::try_new(&lab.host, DEVICE, Hook::Egress, Verdict::Next);
    let full: Vec<_> = std::iter::from_fn(|| another().ok()).collect();
    assert!((2..=64).contains(&full.len()), "{} programs fit on TCX", full.len());
    for ingress in [EBPF, XDP] {
        let collector = Collector::start(&lab.host, ingress);
        assert!(collector.said_before("TC (clsact)"), "there is no room on TCX");
        assert_eq!(number_on(&lab.host, DEVICE, Hook::Ingress), 0, "no half of it stays on TCX");
        let mut probe = Probe::of(&lab);
        probe.is_seen(&collector);
        let ended = collector.stop();
        let skipped = ended.reported_or("skipped", 0);
        assert_eq!(ended.reported("packets seen") - skipped, 2, "each once: {}", ended.said);
    }
    let error = refused(&lab, TCX);
    assert!(error.contains("attaching to TCX"), "{error}");
    assert_eq!(number_on(&lab.host, DEVICE, Hook::Ingress), 0, "no half of it stays on TCX");
    assert_eq!(lab.hooks(), "");
    drop(full);
}

/// What it says when it does not start.
fn refused(lab: &Lab, arguments: &[&str]) -> String {
    let tree = tempfile::tempdir().expect("a scratch directory");
    let mut command = lab.host.command(env!("CARGO_BIN_EXE_conntrack"));
    let output = command.args(["-d", DEVICE, "-p"]).arg(tree.path()).args(arguments).output();
    let output = output.expect("it runs");
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[test]
fn beside_an_ingress_qdisc_there_is_tcx_or_libpcap_or_an_error() {
    let lab = Lab::new(&[HOST]);
    tc(&lab, "qdisc add dev ct-host ingress");
    let qdisc = || tc(&lab, "qdisc show dev ct-host ingress");
    let before = qdisc();
    let error = refused(&lab, CLSACT);
    assert!(error.contains("a qdisc of the kind `ingress`"), "{error}");
    assert!(error.contains("--mode pcap"), "{error}");
    for (arguments, how) in [
        (&["--mode", "auto", "--tc-hook", "clsact"][..], "with libpcap"),
        (EBPF, "TC (TCX)"),
        (XDP, "TC (TCX)"),
    ] {
        let collector = Collector::start(&lab.host, arguments);
        assert!(collector.said_before(how), "{arguments:?} with {how}");
        let mut probe = Probe::of(&lab);
        probe.is_seen(&collector);
        let ended = collector.stop();
        let skipped = ended.reported_or("skipped", 0);
        assert_eq!(ended.reported("packets seen") - skipped, 2, "each once: {}", ended.said);
        assert_same_tree("beside an ingress qdisc", &probe.sent, &ended.files);
    }
    assert_eq!(qdisc(), before);
}

#[test]
fn an_ingress_qdisc_in_the_place_of_ours_is_an_error_in_the_end() {
    let lab = Lab::new(&[HOST]);
    let collector = Collector::start(&lab.host, CLSACT);
    let mut probe = Probe::of(&lab);
    probe.is_seen(&collector);
    collector.signal(Signal::STOP);
    tc(&lab, "qdisc delete dev ct-host clsact");
    tc(&lab, "qdisc add dev ct-host ingress");
    collector.signal(Signal::CONT);
    let ended = collector.ended();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.said);
    let error = ended.said.lines().last().expect("an error");
    assert!(error.contains("a qdisc of the kind `ingress`"), "{error}");
    assert!(tc(&lab, "qdisc show dev ct-host ingress").contains("ingress"), "theirs stays");
}

/// What `conntrack doctor` says of the device.
fn diagnosis(lab: &Lab) -> String {
    let mut command = lab.host.command(env!("CARGO_BIN_EXE_conntrack"));
    let output = command.args(["doctor", "-d", DEVICE]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_diagnosis_says_what_stands_in_the_way() {
    let lab = Lab::new(&[HOST]);
    assert!(diagnosis(&lab).contains("ok    TC filters on the device: ours go first"));
    tc(&lab, "qdisc add dev ct-host clsact");
    tc(&lab, &accepting("egress", 1));
    let said = diagnosis(&lab);
    let theirs = "the TC filter of kind u32 with priority 1 on leaving packets comes before ours";
    assert!(said.contains(&format!("warn  TC filters on the device: {theirs}")), "{said}");
    tc(&lab, "qdisc delete dev ct-host clsact");
    tc(&lab, "qdisc add dev ct-host ingress");
    let said = diagnosis(&lab);
    let theirs = "ct-host has a qdisc of the kind `ingress` in the place of clsact";
    assert!(said.contains(&format!("warn  TC filters on the device: {theirs}")), "{said}");
}
