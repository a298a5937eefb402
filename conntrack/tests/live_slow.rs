//! A file system that takes its time for each file, as NFS over a slow line does: the end comes soon
//! all the same, the watchdog is fed, and what was not written is counted. Needs root.

use std::{
    net::SocketAddr,
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use crate::support::{
    PATIENCE,
    collector::Collector,
    frames::{Tcp, Wire, tcp},
    lab::Lab,
    manager::Manager,
    slow::SLOWLY,
    usual::{EBPF, HOST, PCAP, end, request},
    wait_until,
};
use rustix::process::Signal;

/// Of one batch: they take 20 s.
const REQUESTS: u16 = 4_000;

fn send_requests(wire: &mut Wire) {
    let host = SocketAddr::new(end(&format!("{HOST}:0")).ip(), 40_000);
    for port in 1..=REQUESTS {
        wire.leave(&tcp(host, SocketAddr::new(end("10.0.0.1:0").ip(), port), Tcp::Syn));
    }
}

fn wait_for_first_file(collector: &Collector) {
    assert!(wait_until(PATIENCE, || !collector.files().is_empty()));
}

#[test]
fn the_end_comes_soon_and_what_was_not_written_is_counted() {
    for way in [EBPF, PCAP] {
        let lab = Lab::new(&[HOST]);
        let mut wire = Wire::of(&lab);
        let arguments = [way, &["--interval", "500ms"]].concat();
        let collector = Collector::start_through(&lab.host, SLOWLY, &arguments);
        send_requests(&mut wire);
        wait_for_first_file(&collector);
        let start = Instant::now();
        let ended = collector.stop_by(Signal::TERM);
        let took = start.elapsed();
        // A second, and what a busy machine adds.
        assert!(took < Duration::from_secs(5), "{took:?}: {}", ended.said);
        assert!(ended.status.success(), "{}", ended.said);
        assert_eq!(lab.hooks(), "");
        let made = ended.files.len() as u64;
        let left = ended.reported("flows recorded") - made;
        assert_eq!(ended.reported("files made"), made);
        assert!(
            ended.said.contains(&format!("not written before the end: {left}")),
            "{}",
            ended.said
        );
        let says = "connections were not written before the end: the file system is too slow";
        assert!(ended.said.contains(says), "{}", ended.said);
    }
}

#[test]
fn while_files_are_made_the_watchdog_is_fed_and_reports_are_answered() {
    let lab = Lab::new(&[HOST]);
    let mut wire = Wire::of(&lab);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let path = scratch.path().join("notify");
    let mut manager = Manager::on(UnixDatagram::bind(&path).expect("a socket"));
    let socket = format!("NOTIFY_SOCKET={}", path.display());
    let program = [&["env", &socket, "WATCHDOG_USEC=400000"], SLOWLY].concat();
    let mut collector = Collector::start_through(&lab.host, &program, EBPF);
    send_requests(&mut wire);
    wait_for_first_file(&collector);
    let start = Instant::now();
    for _ in 0..5 {
        manager.wait_for("WATCHDOG=1");
    }
    collector.signal(Signal::USR1);
    collector.wait_for_line("flows recorded: ");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    let made = collector.files().len();
    assert!(made < usize::from(REQUESTS), "the batch is not done");
    assert!(!collector.path().join(request(REQUESTS).1.first().expect("one")).exists());
}
