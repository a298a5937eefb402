//! Start and end: what stays on a device after each kind of end, what the next start finds, and that
//! the tree is maintained while the agent runs. Needs root.

use std::{fs, net::SocketAddr};

use crate::support::{
    Files, PATIENCE, assert_same_tree,
    collector::Collector,
    frames::{Wire, udp},
    lab::{DEVICE, Lab},
    usual::{CLSACT, EBPF, HOST, PCAP, TCX, XDP, each_way, end, has_tcx, request},
    wait_until,
};
use aya::programs::{SchedClassifier, TcAttachType};
use rustix::process::Signal;

/// Loaded programs with our name, on any device.
fn loaded_programs() -> Vec<u32> {
    let programs = aya::programs::loaded_programs().filter_map(Result::ok);
    let is_ours = |name: &str| name.starts_with("conntrack");
    let ours = programs.filter(|program| program.name_as_str().is_some_and(is_ours));
    ours.map(|program| program.id()).collect()
}

/// The programs on the device's TCX hooks; none where the kernel has no such hooks.
fn on_tcx(lab: &Lab) -> usize {
    if !has_tcx() {
        return 0;
    }
    lab.host.enter(|| {
        let both = [TcAttachType::Ingress, TcAttachType::Egress];
        let count = |side| SchedClassifier::query_tcx(DEVICE, side).expect("TCX").1.len();
        both.map(count).iter().sum()
    })
}

each_way!(
    ctrl_c_and_sigterm_leave_nothing_on_the_device,
    what_was_seen_last_is_written,
    a_device_that_goes_away_is_waited_for_and_watched_again,
);

fn ctrl_c_and_sigterm_leave_nothing_on_the_device(way: &[&str]) {
    let lab = Lab::new(&[HOST]);
    let programs = if way == PCAP { 0 } else { 2 };
    for signal in [Signal::INT, Signal::TERM] {
        let collector = Collector::start(&lab.host, way);
        assert_eq!(on_tc(&lab) + usize::from(lab.xdp()), programs, "{}", lab.hooks());
        assert_eq!(lab.xdp(), way == XDP);
        let tcx = on_tcx(&lab);
        assert!(way != TCX || tcx == 2, "{tcx} programs on TCX");
        assert!(way != CLSACT || tcx == 0, "{tcx} programs on TCX");
        let ended = collector.stop_by(signal);
        assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
        assert_eq!(lab.hooks(), "");
        assert_eq!(on_tcx(&lab), 0);
        assert!(!lab.xdp());
    }
}

/// The programs on the device's TC path, whichever hook they hang on.
fn on_tc(lab: &Lab) -> usize {
    on_tcx(lab) + lab.hooks().matches("direct-action").count()
}

#[test]
fn xdp_says_how_it_runs_and_shares_with_nobody() {
    let lab = Lab::new(&[HOST]);
    let mut first = Collector::start(&lab.host, XDP);
    assert!(first.said_before("native XDP and TC"), "veth has native XDP");
    let tree = tempfile::tempdir().expect("a scratch directory");
    let mut second = lab.host.command(env!("CARGO_BIN_EXE_conntrack"));
    second.args(["-d", DEVICE, "-p"]).arg(tree.path()).args(XDP);
    let second = second.output().expect("the program runs");
    let error = String::from_utf8(second.stderr).expect("UTF-8");
    assert_eq!(second.status.code(), Some(1), "{error}");
    assert!(error.contains("already has an XDP program; use --hook tc"), "{error}");
    assert_eq!(on_tc(&lab), 1, "of the second, nothing is left; of the first, all");
    first.signal(Signal::USR1);
    first.wait_for_line("lost: 0");
    first.stop();

    let on_loopback = Collector::start_on(&lab.host, "lo", XDP);
    assert!(on_loopback.said_before("generic XDP"), "loopback has no native XDP");
    on_loopback.stop();
}

fn what_was_seen_last_is_written(way: &[&str]) {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let collector = Collector::start(&lab.host, &[way, &["--interval", "1h"]].concat());
    let (frame, expected) = request(443);
    wire.leave(&frame);
    let ended = collector.stop_by(Signal::TERM);
    assert_same_tree("at the end", &expected, &ended.files);
    assert!(ended.said.contains("flows recorded: 1"), "{}", ended.said);
}

#[test]
fn the_next_start_cleans_up_after_a_kill() {
    let lab = Lab::new(&[HOST]);
    for arguments in [CLSACT, EBPF, XDP] {
        drop(Collector::start(&lab.host, arguments)); // by SIGKILL
    }
    let left_behind = lab.hooks();
    assert!(left_behind.contains("clsact") && left_behind.contains("conntrack"), "{left_behind}");
    assert!(wait_until(PATIENCE, || on_tcx(&lab) == 0), "TCX goes with the process");
    assert!(wait_until(PATIENCE, || !lab.xdp()), "XDP goes with the process");

    let mut collector = Collector::start(&lab.host, &[CLSACT, &["-v"]].concat());
    let filters = lab.hooks().matches("direct-action").count();
    assert_eq!(filters, 2, "ours alone: {}", lab.hooks());
    let mut wire = Wire::of(&lab);
    let (frame, expected) = request(443);
    wire.leave(&frame);
    collector.wait_for_files(&expected);
    collector.signal(Signal::USR1);
    collector.wait_for_line("lost: 0");
    collector.stop();
    assert_eq!(lab.hooks(), "", "with the qdisc that the killed run had made");
}

#[test]
fn another_collector_s_filter_is_not_taken_for_one_left_behind() {
    let lab = Lab::new(&[HOST]);
    let first = Collector::start(&lab.host, CLSACT);
    let second = Collector::start(&lab.host, CLSACT);
    let mut wire = Wire::of(&lab);
    let (frame, expected) = request(443);
    wire.leave(&frame);
    second.wait_for_files(&expected);
    // The last one to end removes the qdisc, even if another one made it.
    first.stop();
    let (frame, expected) = request(444);
    wire.leave(&frame);
    second.wait_for_files(&expected);
    second.stop();
    assert_eq!(lab.hooks(), "");
}

#[test]
fn a_collector_by_another_name_is_not_taken_for_one_left_behind() {
    let lab = Lab::new(&[HOST]);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let renamed = scratch.path().join("watcher");
    fs::copy(env!("CARGO_BIN_EXE_conntrack"), &renamed).expect("copied");
    let first = Collector::start(&lab.host, CLSACT);
    let tree = scratch.path().join("tree");
    let mut second = lab.host.command(renamed.to_str().expect("UTF-8"));
    let mut second = second.args(["-q", "-d", DEVICE, "-p"]).arg(&tree).args(CLSACT).spawn();
    let attached = wait_until(PATIENCE, || lab.hooks().matches("direct-action").count() == 4);
    second.as_mut().expect("it runs").kill().expect("killed");
    second.expect("it runs").wait().expect("ended");
    assert!(attached, "both are on the device: {}", lab.hooks());
    first.stop();
}

#[test]
fn what_was_seen_last_is_written_whatever_becomes_of_the_qdisc() {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let collector = Collector::start(&lab.host, &[CLSACT, &["--interval", "1h"]].concat());
    let (frame, expected) = request(443);
    wire.leave(&frame);
    lab.host.run("tc", &["qdisc", "delete", "dev", DEVICE, "clsact"]);
    let ended = collector.stop();
    assert_same_tree("the qdisc is gone", &expected, &ended.files);
    assert!(ended.status.success(), "{}", ended.said);
}

#[test]
fn a_qdisc_that_we_did_not_make_stays() {
    let lab = Lab::new(&[HOST]);
    lab.host.run("tc", &["qdisc", "add", "dev", DEVICE, "clsact"]);
    let before = lab.hooks();
    assert!(before.contains("clsact"), "{before}");
    Collector::start(&lab.host, CLSACT).stop();
    assert_eq!(lab.hooks(), before);
}

#[test]
fn a_qdisc_that_others_use_stays() {
    let lab = Lab::new(&[HOST]);
    let collector = Collector::start(&lab.host, CLSACT);
    // One instruction of classic BPF, "return -1": cls_bpf is available wherever our filters are.
    let filter =
        ["filter", "add", "dev", DEVICE, "egress", "bpf", "bytecode", "1,6 0 0 4294967295"];
    lab.host.run("tc", &filter);
    collector.stop();
    let left = lab.hooks();
    assert!(left.contains("clsact") && left.contains("bytecode"), "{left}");
    assert!(!left.contains("conntrack"), "{left}");
}

#[test]
fn no_program_stays_in_the_kernel() {
    let lab = Lab::new(&[HOST]);
    let collector = Collector::start(&lab.host, EBPF);
    let while_running = loaded_programs();
    assert!(!while_running.is_empty());
    collector.stop();
    // Other tests load and unload programs meanwhile, so only those that were loaded at that time
    // count.
    let all_gone = || loaded_programs().iter().all(|id| !while_running.contains(id));
    assert!(wait_until(PATIENCE, all_gone), "{while_running:?}");
}

#[test]
fn what_is_removed_comes_back_with_its_connection() {
    for arguments in [EBPF, PCAP] {
        let lab = Lab::new(&[HOST]);
        let mut wire = Wire::of(&lab);
        let collector = Collector::start(&lab.host, arguments);
        let (frame, expected) = request(443);
        wire.leave(&frame);
        collector.wait_for_files(&expected);
        fs::remove_dir_all(collector.path().join("out")).expect("removed");
        wire.leave(&frame);
        collector.wait_for_files(&expected);
        collector.stop();
    }
}

#[test]
fn a_file_s_time_moves_with_its_connection() {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let collector = Collector::start(&lab.host, EBPF);
    let (frame, expected) = request(443);
    let path = collector.path().join(expected.first().expect("one"));
    wire.leave(&frame);
    collector.wait_for_files(&expected);
    let modified = || fs::metadata(&path).expect("a file").modified().expect("a time");
    let first = modified();
    let moved = wait_until(PATIENCE, || {
        wire.leave(&frame);
        modified() > first
    });
    assert!(moved, "the connection was seen again and its file still says {first:?}");
}

#[test]
fn what_does_not_fit_into_the_flow_map_is_counted() {
    const SENT: u16 = 100;
    for arguments in [EBPF, PCAP] {
        let lab = Lab::new(&[HOST]);
        let mut wire = Wire::of(&lab);
        let small = [arguments, &["--max-flows", "16"]].concat();
        let mut collector = Collector::start(&lab.host, &small);
        // So that it is never drained.
        collector.signal(Signal::STOP);
        for port in 0..SENT {
            wire.leave(&request(port).0);
        }
        collector.signal(Signal::CONT);
        if arguments == EBPF {
            collector.wait_for_line("warning: the flow map was full: 84 packets");
        }
        let ended = collector.stop();
        let lost = ended.reported("lost");
        assert_eq!(u64::from(SENT), ended.files.len() as u64 + lost, "{}", ended.said);
        if lost > 0 {
            let counted = format!("lost: {lost} (flow map full: {lost})");
            assert!(ended.said.contains(&counted), "{counted} expected: {}", ended.said);
        }
    }
}

#[test]
fn a_flow_map_that_gets_full_does_not_wait_for_its_interval() {
    const SENT: u16 = 2000;
    for arguments in [EBPF, PCAP] {
        let lab = Lab::new(&[HOST]);
        let mut wire = Wire::of(&lab);
        let hourly = [arguments, &["--max-flows", "400", "--interval", "1h"]].concat();
        let collector = Collector::start(&lab.host, &hourly);
        let mut all = Files::new();
        // In portions that fit, each sent once the one before was drained.
        for portion in (1000..1000 + SENT).collect::<Vec<_>>().chunks(200) {
            let (frames, files): (Vec<_>, Vec<_>) =
                portion.iter().map(|port| request(*port)).unzip();
            for frame in &frames {
                wire.leave(frame);
            }
            all.extend(files.into_iter().flatten());
            let are_taken = || collector.files().len() > all.len() - 200;
            let taken = wait_until(PATIENCE, are_taken);
            assert!(taken, "{arguments:?}: they wait for their interval");
        }
        let ended = collector.stop();
        assert_eq!(ended.reported("lost"), 0, "{arguments:?}: {}", ended.said);
        assert_same_tree("what was sent", &all, &ended.files);
    }
}

#[test]
fn an_address_with_a_label_is_the_device_s_too() {
    let lab = Lab::new(&[]);
    let mut wire = Wire::of(&lab);
    let labelled = ["address", "add", "192.168.200.230/24", "dev", DEVICE, "label", "service"];
    lab.host.run("ip", &labelled);
    let collector = Collector::start(&lab.host, EBPF);
    let (frame, expected) = request(443);
    wire.leave(&frame);
    collector.wait_for_files(&expected);
    collector.stop();
}

#[test]
fn addresses_are_kept_current() {
    let lab = Lab::new(&[]);
    let mut wire = Wire::of(&lab);
    let collector = Collector::start(&lab.host, EBPF);
    wire.arrive(&udp(end("10.0.0.1:1000"), end("192.168.200.230:2000")));
    collector.wait_for_files(&["else/udp/10.0.0.1-1000-192.168.200.230-2000".to_owned()].into());
    lab.host.add_address(DEVICE, HOST);
    wire.arrive(&udp(end("10.0.0.1:1000"), end("192.168.200.230:2000")));
    collector.wait_for_files(&["in/udp/10.0.0.1-PORT-192.168.200.230-2000".to_owned()].into());
    collector.stop();
}

fn a_device_that_goes_away_is_waited_for_and_watched_again(way: &[&str]) {
    let lab = Lab::new(&[HOST]);
    let slow = [way, &["--interval", "1s", "-e"]].concat();
    let mut collector = Collector::start(&lab.host, &slow);
    let (frame, mut expected) = request(443);
    Wire::of(&lab).leave(&frame);
    lab.unplug();
    collector.wait_for_line("ct-host is gone; waiting for it");
    // The device is gone with its address; what it sent before is still its own.
    collector.wait_for_files(&expected);

    // Another device takes its index.
    lab.host.run("ip", &["link", "add", "ct-other", "type", "veth", "peer", "name", "ct-rehto"]);
    lab.plug_in(&[HOST]);
    collector.wait_for_line("ct-host is back");
    let (frame, again) = request(8443);
    Wire::of(&lab).leave(&frame);
    expected.extend(again);
    collector.wait_for_files(&expected);
    let ended = collector.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    assert_eq!(ended.reported("lost"), 0, "{}", ended.said);
    assert_same_tree("gone and back", &expected, &ended.files);
    assert!(ended.reported("packets seen") >= 2, "{}", ended.said);
}

#[test]
fn a_device_that_goes_away_is_the_end_if_asked() {
    for arguments in [EBPF, PCAP] {
        let lab = Lab::new(&[HOST]);
        let exiting = [arguments, &["--exit-on-device-loss", "-e"]].concat();
        let mut collector = Collector::start(&lab.host, &exiting);
        let (frame, expected) = request(443);
        Wire::of(&lab).leave(&frame);
        lab.unplug();
        collector.wait_for_line("ct-host is gone; start again when it is back");
        let ended = collector.ended();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.said);
        assert_same_tree("the device is gone", &expected, &ended.files);
    }
}

#[test]
fn two_collectors_on_one_tree_do_no_harm() {
    let lab = Lab::new(&[HOST]);
    let first = Collector::start(&lab.host, EBPF);
    let second = first.start_beside(&lab.host, PCAP);
    let mut wire = Wire::of(&lab);
    let mut expected = Files::new();
    for port in 1..200 {
        let (frame, files) = request(port);
        wire.leave(&frame);
        expected.extend(files);
    }
    first.wait_for_files(&expected);
    for (ended, beside) in [(second.stop(), 1), (first.stop(), 0)] {
        assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
        assert_eq!(ended.reported("lost"), 0, "{}", ended.said);
        // The later one says that there is another one, and nothing else.
        let warnings = ended.warnings();
        assert_eq!(warnings.len(), beside, "{}", ended.said);
        assert!(
            warnings.iter().all(|it| it.contains("another one records into")),
            "{}",
            ended.said
        );
    }
}

#[test]
fn what_others_attached_sees_every_packet_before_while_and_after() {
    const EACH: u16 = 20;
    for others in [EBPF, CLSACT, XDP] {
        let lab = Lab::new(&[HOST]);
        let mut wire = Wire::of(&lab);
        // Another collector stands for any other program: attached first, and each packet shows in its
        // tree.
        let other = Collector::start(&lab.host, others);
        let mut expected = Files::new();
        let mut ports = 1000..u16::MAX;
        let mut send = |collectors: &[&Collector]| {
            let mut sent = Files::new();
            for port in ports.by_ref().take(usize::from(EACH)) {
                wire.leave(&request(port).0);
                sent.extend(request(port).1);
                wire.arrive(&udp(
                    end("10.0.0.1:40000"),
                    SocketAddr::new(end("10.0.0.2:9").ip(), port),
                ));
                sent.insert(format!("else/udp/10.0.0.1-40000-10.0.0.2-{port}"));
            }
            for collector in collectors {
                collector.wait_for_files(&sent);
            }
            expected.extend(sent);
        };
        send(&[&other]);
        for ours in [EBPF, CLSACT, XDP] {
            // XDP takes one program only.
            if (ours, others) != (XDP, XDP) {
                let collector = Collector::start(&lab.host, ours);
                send(&[&other, &collector]);
                collector.stop();
                send(&[&other]);
            }
        }
        let ended = other.stop();
        assert_same_tree("what the others saw", &expected, &ended.files);
        assert_eq!(ended.reported("lost"), 0, "{}", ended.said);
    }
}

#[test]
fn a_clock_that_is_not_the_kernel_s_does_no_harm() {
    // In a time namespace the clock of BPF programs differs from ours (since Linux 6.3 it is entered
    // at once).
    for offset in ["--monotonic=86400", "--monotonic=-60"] {
        let lab = Lab::new(&[HOST]);
        let mut wire = Wire::of(&lab);
        let shifted = ["unshare", "--time", offset];
        let collector = Collector::start_through(&lab.host, &shifted, EBPF);
        let (frame, expected) = request(443);
        wire.leave(&frame);
        collector.wait_for_files(&expected);
        let (frame, more) = request(444);
        wire.leave(&frame);
        let ended = collector.stop();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
        assert_same_tree(offset, &(&expected | &more), &ended.files);
    }
}
