//! `--events`: what programs are told of each connection, on standard output and in a journal, and what becomes of it
//! where nobody reads.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{Read as _, pipe},
    os::unix::{fs::MetadataExt as _, net::UnixDatagram},
    path::Path,
    process::{Command, Output, Stdio},
    slice::from_ref,
    thread,
    time::Duration,
};

use crate::support::{
    Case, conntrack, files,
    frames::{Tcp, tcp, udp},
    full::Full,
    usual::end,
};
use serde_json::Value;
use tempfile::TempDir;

/// More than a pipe and the program itself have room for.
const MANY: u16 = 12_000;

fn scratch() -> TempDir {
    tempfile::tempdir().expect("a scratch directory")
}

/// A capture of these frames.
fn capture(path: &Path, frames: &[Vec<u8>]) {
    let mut bytes = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        bytes.extend(word.to_le_bytes());
    }
    for frame in frames {
        let length = u32::try_from(frame.len()).expect("short");
        for word in [1_790_000_000, 0, length, length] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    fs::write(path, bytes).expect("written");
}

/// The program, reading a capture into a tree.
fn reading(capture: &Path, tree: &Path) -> Command {
    let mut command = conntrack();
    command.args(["--events", "--local", "192.168.200.230", "-p"]).arg(tree).arg("-r").arg(capture);
    command
}

fn said(output: &Output) -> String {
    let said = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    assert!(output.status.success(), "{said}");
    said
}

fn events(output: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(output).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or_else(|| panic!("no {field} in {event}"))
}

/// The file that an event is about.
fn file(event: &Value) -> String {
    let source_port =
        event["source_port"].as_u64().map_or_else(|| "PORT".to_owned(), |port| port.to_string());
    let [direction, protocol, source, destination] =
        ["direction", "protocol", "source", "destination"].map(|field| text(event, field));
    let port = event["destination_port"].as_u64().expect("a port");
    format!("{direction}/{protocol}/{source}-{source_port}-{destination}-{port}")
}

/// A datagram of others for each of so many ports.
fn many() -> Vec<Vec<u8>> {
    (1..=MANY).map(|port| udp(end(&format!("10.0.0.1:{port}")), end("10.0.0.2:9"))).collect()
}

/// What the report says of events: how many were told, and how many were lost.
fn counts(said: &str) -> (u64, u64) {
    let line = said.lines().find_map(|line| line.strip_prefix("events told: ")).expect(said);
    let numbers = line.split(|it: char| !it.is_ascii_digit()).filter(|it| !it.is_empty());
    let numbers: Vec<u64> = numbers.map(|it| it.parse().expect("a number")).collect();
    (numbers[0], numbers.get(1).copied().unwrap_or_default())
}

#[test]
fn each_connection_is_told_when_it_is_new() {
    let case = Case::named("seed");
    let scratch = scratch();
    let tree = scratch.path().join("tree");
    let output = reading(&case.capture, &tree).output().expect("it runs");
    let told = events(&output.stdout);
    assert_eq!(told.iter().map(file).collect::<BTreeSet<_>>(), case.tree);
    assert_eq!(told.len(), case.tree.len());
    assert!(told.iter().all(|event| text(event, "event") == "new"), "{told:?}");
    assert_eq!(counts(&said(&output)), (case.tree.len() as u64, 0));
    let [first, ..] = told.as_slice() else { panic!("no event") };
    for (field, value) in [("type", "event"), ("event", "new")] {
        assert_eq!(text(first, field), value, "{first}");
    }
    let of_schema = ["host", "device", "evidence", "made", "first_seen", "last_seen"];
    assert!(of_schema.iter().all(|field| first.get(*field).is_some()), "{first}");
    let again = reading(&case.capture, &tree).output().expect("it runs");
    assert_eq!(events(&again.stdout), Vec::<Value>::new(), "nothing is new or changes");
}

#[test]
fn it_is_told_again_when_more_is_known_of_it() {
    let scratch = scratch();
    let [tree, file] = ["tree", "capture"].map(|name| scratch.path().join(name));
    let [client, server] = ["10.0.0.9:40000", "192.168.200.230:22"].map(end);
    let others = ["10.0.0.8:40000", "192.168.200.230:23"].map(end);
    let answered = [tcp(others[0], others[1], Tcp::Syn), tcp(others[1], others[0], Tcp::SynAck)];
    let word = |frames: &[Vec<u8>]| {
        capture(&file, &[frames, &answered].concat());
        let output = reading(&file, &tree).output().expect("it runs");
        said(&output);
        let told = events(&output.stdout).into_iter();
        let about = told.filter(|event| event["destination_port"] == 22);
        about
            .map(|it| format!("{} {}", text(&it, "event"), text(&it, "evidence")))
            .collect::<Vec<_>>()
    };
    let syn = tcp(client, server, Tcp::Syn);
    let refusal = tcp(server, client, Tcp::Reset);
    let answer = tcp(server, client, Tcp::SynAck);
    assert_eq!(word(from_ref(&syn)), ["new unknown"]);
    assert_eq!(word(from_ref(&syn)), [""; 0]);
    assert_eq!(word(&[syn.clone(), refusal.clone()]), ["changed refused"]);
    assert_eq!(word(&[syn.clone(), answer]), ["changed answered"]);
    assert_eq!(word(&[syn, refusal]), [""; 0], "a weaker word changes nothing");
}

/// Nothing else goes where programs read, whatever is said to people.
#[test]
fn standard_output_has_events_alone() {
    let case = Case::named("seed");
    let scratch = scratch();
    for flags in [&["-v"][..], &["-q"], &["-vv"], &[]] {
        let tree = scratch.path().join(format!("tree{}", flags.concat()));
        let output = reading(&case.capture, &tree).args(flags).output().expect("it runs");
        assert_eq!(events(&output.stdout).len(), case.tree.len(), "{flags:?}");
        assert_eq!(said(&output).is_empty(), flags == ["-q"], "{flags:?}");
    }
}

#[test]
fn a_reader_that_does_not_read_costs_events_and_nothing_else() {
    let scratch = scratch();
    let [tree, file] = ["tree", "capture"].map(|name| scratch.path().join(name));
    capture(&file, &many());
    for flag in ["-v", "-q"] {
        let tree = tree.with_extension(flag);
        let full = Full::pipe();
        let output =
            reading(&file, &tree).arg(flag).stdout(full.stdio()).output().expect("it runs");
        let said = said(&output);
        assert_eq!(counts(&said), (0, u64::from(MANY)), "{said}");
        assert_eq!(said.matches("standard output is read too slowly").count(), 1, "{said}");
        assert_eq!(files(&tree).len(), usize::from(MANY));
    }
}

#[test]
fn a_slow_reader_of_a_file_s_events_gets_all() {
    let scratch = scratch();
    let [tree, file] = ["tree", "capture"].map(|name| scratch.path().join(name));
    capture(&file, &many());
    let (mut reader, writer) = pipe().expect("a pipe");
    let slow = thread::spawn(move || {
        let mut read = Vec::new();
        let mut buffer = [0; 8192];
        loop {
            match reader.read(&mut buffer).expect("read") {
                0 => return read,
                length => read.extend(&buffer[..length]),
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
    // The command keeps the other end open until it goes.
    let output = {
        let mut command = reading(&file, &tree);
        command.stdout(writer).stderr(Stdio::piped());
        command.spawn().expect("it runs").wait_with_output().expect("it ends")
    };
    assert_eq!(counts(&said(&output)), (u64::from(MANY), 0));
    assert_eq!(events(&slow.join().expect("no panic")).len(), usize::from(MANY));
}

#[test]
fn a_reader_that_goes_is_told_of_once() {
    let scratch = scratch();
    let [tree, file] = ["tree", "capture"].map(|name| scratch.path().join(name));
    capture(&file, &many());
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    let output = reading(&file, &tree).stdout(writer).output().expect("it runs");
    let said = said(&output);
    assert_eq!(said.matches("nobody reads standard output any more").count(), 1, "{said}");
    assert!(!said.contains("too slowly"), "{said}");
    assert_eq!(counts(&said), (0, u64::from(MANY)), "{said}");
    assert_eq!(files(&tree).len(), usize::from(MANY));
}

#[test]
fn a_full_disk_is_said_once_and_counted() {
    let scratch = scratch();
    let [tree, file] = ["tree", "capture"].map(|name| scratch.path().join(name));
    capture(&file, &many()[..50]);
    let full = File::options().write(true).open("/dev/full").expect("a full device");
    let output = reading(&file, &tree).stdout(full).output().expect("it runs");
    let said = said(&output);
    assert_eq!(
        said.matches("cannot write events to standard output: No space").count(),
        1,
        "{said}"
    );
    assert_eq!(counts(&said), (0, 50), "{said}");
}

/// A directory with a socket as the journal has it, and a standard output that is the journal's.
struct StandIn {
    place: TempDir,
    socket: UnixDatagram,
}

impl StandIn {
    fn new() -> Self {
        let place = scratch();
        fs::create_dir(place.path().join("journal")).expect("made");
        let socket = UnixDatagram::bind(place.path().join("journal/socket")).expect("bound");
        socket.set_read_timeout(Some(Duration::from_secs(1))).expect("set");
        Self { place, socket }
    }

    /// Reads a capture where this is the journal.
    fn run(&self, capture: &Path, tree: &Path) -> Output {
        const SCRIPT: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && \
            mount --bind \"$0\" /run/systemd/journal && exec \"$@\"";
        let out = File::create(self.place.path().join("out")).expect("made");
        let metadata = out.metadata().expect("metadata");
        let stream = format!("{}:{}", metadata.dev(), metadata.ino());
        let inner = reading(capture, tree);
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", SCRIPT]);
        command.arg(self.place.path().join("journal")).arg(inner.get_program());
        command.args(inner.get_args()).env("JOURNAL_STREAM", stream).stdout(out);
        command.output().expect("unshare runs")
    }

    fn entries(&self) -> Vec<String> {
        let mut buffer = [0; 8192];
        let mut entries = Vec::new();
        while let Ok(length) = self.socket.recv(&mut buffer) {
            entries.push(String::from_utf8(buffer[..length].to_vec()).expect("UTF-8"));
        }
        entries
    }

    fn lines(&self) -> String {
        fs::read_to_string(self.place.path().join("out")).expect("standard output")
    }
}

#[test]
fn the_journal_gets_entries_with_fields() {
    let scratch = scratch();
    let [tree, file] = ["tree", "capture"].map(|name| scratch.path().join(name));
    let [client, server] = ["10.0.0.9:40000", "192.168.200.230:22"].map(end);
    capture(&file, &[tcp(client, server, Tcp::Syn), tcp(server, client, Tcp::SynAck)]);
    let journal = StandIn::new();
    let output = journal.run(&file, &tree);
    assert_eq!(counts(&said(&output)), (1, 0));
    assert_eq!(journal.lines(), "");
    let entries = journal.entries();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    for field in [
        "MESSAGE=new: answered 10.0.0.9 > 192.168.200.230:22",
        "PRIORITY=6",
        "SYSLOG_IDENTIFIER=conntrack",
        "CONNTRACK_EVENT=new",
        "CONNTRACK_DIRECTION=in",
        "CONNTRACK_PROTOCOL=tcp",
        "CONNTRACK_SOURCE=10.0.0.9",
        "CONNTRACK_DESTINATION=192.168.200.230",
        "CONNTRACK_DESTINATION_PORT=22",
        "CONNTRACK_EVIDENCE=answered",
    ] {
        assert!(entry.lines().any(|line| line == field), "{field}: {entry}");
    }
    assert!(!entry.contains("SOURCE_PORT"), "any port is none: {entry}");
}

#[test]
fn a_journal_that_does_not_read_costs_events_and_nothing_else() {
    let scratch = scratch();
    let [tree, file] = ["tree", "capture"].map(|name| scratch.path().join(name));
    capture(&file, &many());
    let journal = StandIn::new();
    let output = journal.run(&file, &tree);
    let said = said(&output);
    let (told, lost) = counts(&said);
    assert_eq!((told + lost, files(&tree).len()), (u64::from(MANY), usize::from(MANY)), "{said}");
    assert_eq!(journal.entries().len() as u64, told);
    assert!(lost > 0, "{said}");
    assert_eq!(said.matches("the journal is read too slowly").count(), 1, "{said}");
}

#[test]
fn where_there_is_no_journal_events_are_lines() {
    let case = Case::named("seed");
    let scratch = scratch();
    let journal = StandIn::new();
    fs::remove_file(journal.place.path().join("journal/socket")).expect("removed");
    let output = journal.run(&case.capture, &scratch.path().join("tree"));
    assert!(said(&output).contains("cannot reach the journal: "));
    assert_eq!(events(journal.lines().as_bytes()).len(), case.tree.len());
}
