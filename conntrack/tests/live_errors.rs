//! Starting where something is missing: privilege, eBPF in the kernel, a readable device. Needs root,
//! to drop privileges.

use std::process::Output;

use crate::support::{
    assert_same_tree,
    collector::{Collector, TOO_MANY_OPEN_FILES},
    frames::Wire,
    lab::{DEVICE, Lab, Namespace},
    refusal::refuse_bpf,
    traced::Traced,
    usual::{EBPF, HOST, PCAP, each_way, request},
};

/// Runs the program without these capabilities; `-all` takes them all. It does not start, and leaves
/// nothing.
#[track_caller]
fn without(capabilities: &str, namespace: &Namespace, mode: &str) -> (Output, String) {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let tree = scratch.path().join("tree");
    let output = namespace
        .command("setpriv")
        .arg(format!("--bounding-set={capabilities}"))
        .arg(format!("--inh-caps={capabilities}"))
        .arg(env!("CARGO_BIN_EXE_conntrack"))
        .args(["-d", DEVICE, "-m", mode, "-p"])
        .arg(&tree)
        .output()
        .expect("setpriv runs");
    assert!(!tree.exists(), "a start that failed left a tree");
    let error = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    (output, error)
}

#[test]
fn missing_privilege_is_one_line_that_says_which() {
    let lab = Lab::new(&[HOST]);
    for (capabilities, mode, missing) in [
        ("-all", "ebpf", "missing CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON;"),
        ("-all", "auto", "missing CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON;"),
        ("-all", "pcap", "missing CAP_NET_RAW"),
        ("-net_admin", "ebpf", "missing CAP_NET_ADMIN;"),
        ("-net_raw", "pcap", "missing CAP_NET_RAW;"),
        // Not a reason to fall back to libpcap, which could run.
        ("-net_admin", "auto", "missing CAP_NET_ADMIN;"),
    ] {
        let (output, error) = without(capabilities, &lab.host, mode);
        assert_eq!(output.status.code(), Some(1), "{mode} {capabilities}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains("not enough privilege") && error.contains(missing), "{error}");
    }
}

#[test]
fn the_capabilities_that_are_named_are_enough() {
    let lab = Lab::new(&[HOST]);
    let ebpf = "-all,+bpf,+perfmon,+net_admin";
    for (capabilities, arguments) in [
        (ebpf, &["-m", "ebpf"][..]),
        (ebpf, &["-m", "ebpf", "--tc-hook", "clsact"]),
        (ebpf, &["-m", "ebpf", "--hook", "xdp"]),
        ("-all,+net_raw", &["-m", "pcap"]),
    ] {
        let bounding_set = format!("--bounding-set={capabilities}");
        let program = ["setpriv", &bounding_set, "--inh-caps=-all"];
        let collector = Collector::start_through(&lab.host, &program, arguments);
        assert!(collector.stop().status.success(), "{arguments:?}");
    }
}

const ENOSYS: u32 = 38;
const EPERM: u32 = 1;
const EINVAL: u32 = 22;

/// A command of bpf(2).
const MAP_CREATE: u64 = 0;

/// Where bpf(2) refuses a command, or all of them, `auto` uses libpcap and says why in one line.
fn auto_falls_back(errno: u32, command: Option<u64>, why: &str) {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let collector = lab.host.enter(|| {
        refuse_bpf(errno, command);
        Collector::start(&lab.host, &["--mode", "auto"])
    });
    let (frame, expected) = request(443);
    wire.leave(&frame);
    collector.wait_for_files(&expected);
    let ended = collector.stop();
    assert_same_tree("fallen back", &expected, &ended.files);
    let reasons: Vec<_> = ended.said.lines().filter(|line| line.contains("no eBPF")).collect();
    assert_eq!(reasons.len(), 1, "{}", ended.said);
    assert!(reasons[0].contains(why), "{}", reasons[0]);
    assert!(ended.said.contains("with libpcap"), "{}", ended.said);
}

#[test]
fn auto_falls_back_where_the_kernel_has_no_bpf() {
    auto_falls_back(ENOSYS, None, "this kernel has no bpf(2)");
}

#[test]
fn auto_falls_back_where_the_kernel_lacks_a_kind_of_map() {
    // As before Linux 5.8, which has no ring buffers.
    auto_falls_back(EINVAL, Some(MAP_CREATE), "loading the maps: ");
}

/// Runs the program to its end while bpf(2) fails with this error. It leaves nothing.
#[track_caller]
fn with_bpf_refused(errno: u32, mode: &str) -> (Option<i32>, String) {
    let lab = Lab::new(&[HOST]);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let tree = scratch.path().join("tree");
    let output = lab.host.enter(|| {
        refuse_bpf(errno, None);
        let mut command = lab.host.command(env!("CARGO_BIN_EXE_conntrack"));
        command.args(["-d", DEVICE, "-m", mode, "-p"]).arg(&tree).output().expect("it runs")
    });
    assert!(!tree.exists(), "a start that failed left a tree");
    (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
}

#[test]
fn ebpf_does_not_fall_back() {
    let (status, error) = with_bpf_refused(ENOSYS, "ebpf");
    assert_eq!(status, Some(1), "{error}");
    assert_eq!(error, "conntrack: no eBPF here (this kernel has no bpf(2)); use --mode pcap\n");
}

#[test]
fn a_bpf_that_is_forbidden_is_an_error_in_both_modes() {
    for mode in ["ebpf", "auto"] {
        let (status, error) = with_bpf_refused(EPERM, mode);
        assert_eq!(status, Some(1), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains("EPERM") && error.contains("--mode pcap"), "{error}");
    }
}

#[test]
fn too_little_memory_is_an_error_and_no_kernel_without_ebpf() {
    const ENOMEM: u32 = 12;
    for mode in ["ebpf", "auto"] {
        let (status, error) = with_bpf_refused(ENOMEM, mode);
        assert_eq!(status, Some(1), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains("not enough memory; lower --max-flows"), "{error}");
        assert!(!error.contains("no eBPF"), "{error}");
    }
}

each_way!(descriptors_that_run_out_are_no_end);

fn descriptors_that_run_out_are_no_end(way: &[&str]) {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let mut collector = Collector::start(&lab.host, way);
    let (frame, first) = request(443);
    wire.leave(&frame);
    collector.wait_for_files(&first);
    let limit = |files: &str| {
        let process = format!("--pid={}", collector.id());
        lab.host.run("prlimit", &[&process, &format!("--nofile={files}:")]);
    };
    limit("3");
    wire.leave(&request(444).0);
    limit_is_felt(&mut collector);
    let process = format!("--pid={}", collector.id());
    lab.host.run("prlimit", &[&process, "--nofile=512:"]);
    let (frame, second) = request(445);
    wire.leave(&frame);
    collector.wait_for_files(&second);
    let ended = collector.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
}

/// Files of the tree cannot be made then.
fn limit_is_felt(collector: &mut Collector) {
    collector.wait_for_line(TOO_MANY_OPEN_FILES);
}

/// The kernel does not answer over netlink for many batches: each thing that is not known is said once, and
/// once when that is over.
#[test]
fn what_the_kernel_does_not_say_again_and_again_is_said_once() {
    for way in [EBPF, PCAP] {
        let lab = Lab::new(&[HOST]);
        let mut wire = Wire::of(&lab);
        let mut collector = Collector::start(&lab.host, &[way, &["--interval", "20ms"]].concat());
        let refused = Traced::with(collector.id(), "sendto", "error=ENOBUFS");
        for port in 1..=10 {
            let (frame, expected) = request(port);
            wire.leave(&frame);
            collector.wait_for_files(&expected);
        }
        drop(refused);
        collector.wait_for_line("the local addresses are read again");
        let ended = collector.stop();
        assert!(ended.status.success(), "{}", ended.said);
        for what in
            ["cannot read the local addresses", "cannot ask whether ct-host is still watched"]
        {
            assert_eq!(ended.said.matches(what).count(), 1, "{what}: {}", ended.said);
        }
        assert!(!ended.said.contains("is gone"), "{}", ended.said);
    }
}
