//! A recording: the records of a tree, of a file of JSON lines, or of several of both. What stands for no
//! connection is kept apart, to be reported.
//!
//! | module | what it does |
//! |---|---|
//! | [`sources`] | the door: reads whatever holds recordings |
//! | [`json_lines`] | recordings as JSON, an object a line: their fields, and how they are read |
//! | [`merging`] | one recording of several |

pub mod error;
pub mod json_lines;
pub mod merging;
pub mod sources;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{
    connection::{Connection, Direction, Host, SourcePort},
    record::Record,
    tree::{self, Entry, Provenance, TreeError},
};

/// A tree or a file of JSON lines, read; or several.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Where it was read from, as it was typed.
    pub name: PathBuf,
    /// In order of their connections.
    pub records: Vec<Record>,
    /// What stands for no connection, by its path, and why.
    pub strangers: Vec<(PathBuf, &'static str)>,
    /// Evidence that cannot be read, by its path, and why; with the empty path, that of the whole tree.
    pub unreadable: Vec<(PathBuf, &'static str)>,
    /// What the tree says of its recording, if anything; of several, what they agree on.
    pub provenance: Option<Provenance>,
    /// How many connections were left out when it was written as JSON lines.
    pub left_out: usize,
    /// The recordings that it was merged of; none if it is one.
    pub parts: Vec<Part>,
}

/// One of several recordings, but for its records.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Where it was read from.
    pub name: PathBuf,
    /// What it says of itself.
    pub provenance: Option<Provenance>,
    /// The addresses of its own that were seen.
    pub own: BTreeSet<IpAddr>,
}

impl Part {
    /// The name of the machine, where it is told and is a name that cannot leave its line.
    pub fn host(&self) -> Option<&str> {
        one_word(self.provenance.as_ref()?.host.as_deref()?)
    }

    /// The devices, likewise.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        let devices = self.provenance.iter().flat_map(|it| &it.devices);
        devices.filter_map(|it| one_word(it))
    }

    /// The machine in words: its name, or else the file.
    pub fn machine(&self) -> String {
        let file = || self.name.display().to_string().escape_debug().to_string();
        self.host().map_or_else(file, str::to_owned)
    }
}

/// A name that is one word. Anybody may have written it.
pub(crate) fn one_word(name: &str) -> Option<&str> {
    (!name.is_empty() && name.chars().all(|it| it.is_ascii_graphic())).then_some(name)
}

impl Recording {
    /// Reads the tree at `root`.
    ///
    /// # Errors
    /// A root that is no tree, or a directory that cannot be read.
    pub fn read(root: &Path) -> Result<Self, TreeError> {
        let mut recording = Self { name: root.to_owned(), ..Self::default() };
        recording.provenance = tree::read(root, |entry| recording.add(entry))?;
        recording.records.sort_unstable();
        recording.strangers.sort_unstable();
        recording.unreadable.sort_unstable();
        Ok(recording)
    }

    fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Record(record) if is_possible(&record.connection) => self.records.push(record),
            Entry::Record(record) => {
                let path = tree::path(&record.connection).into();
                self.strangers.push((path, "no connection of this direction"));
            }
            Entry::Stranger(path, why) => self.strangers.push((path, why)),
            Entry::Unreadable(path, why) => self.unreadable.push((path, why)),
        }
    }

    /// Leaves out what was last seen before `start`; how many.
    pub fn forget_before(&mut self, start: SystemTime) -> usize {
        let before = self.records.len();
        self.records.retain(|record| record.last_seen >= start);
        let forgotten = before - self.records.len();
        self.left_out += forgotten;
        forgotten
    }

    /// Itself, as one of several.
    pub fn part(&self) -> Part {
        let own = self.records.iter().filter_map(|it| it.connection.own_address()).collect();
        Part { name: self.name.clone(), provenance: self.provenance.clone(), own }
    }
}

/// Whether a tracker could have made this: a name may have the right form and mean nothing.
pub(crate) fn is_possible(connection: &Connection) -> bool {
    let any_port = connection.source_port == SourcePort::Any;
    match (connection.direction, connection.source, connection.destination) {
        (Direction::In, Host::Internet, Host::Address(_))
        | (Direction::Out, Host::Address(_), Host::Internet) => any_port,
        (Direction::In | Direction::Out, Host::Address(a), Host::Address(b)) => {
            any_port && same_family(a, b)
        }
        (Direction::Else, Host::Address(a), Host::Address(b)) => !any_port && same_family(a, b),
        _ => false,
    }
}

const fn same_family(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        time::{Duration, UNIX_EPOCH},
    };

    use rustix::fs::{XattrFlags, setxattr};
    use tempfile::TempDir;

    use super::*;
    use crate::{connection::Evidence, record::Outcome};

    fn tree(paths: &[&str]) -> TempDir {
        let root = tempfile::tempdir().expect("a scratch directory");
        for path in paths {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("below the root")).expect("made");
            fs::write(path, "").expect("written");
        }
        root
    }

    fn strangers(paths: &[&str]) -> Vec<String> {
        let recording = Recording::read(tree(paths).path()).expect("a tree");
        assert_eq!(recording.records, []);
        recording.strangers.iter().map(|(path, _)| path.display().to_string()).collect()
    }

    #[test]
    fn records_come_in_order_with_their_times() {
        let names = ["out/udp/10.0.0.2-PORT-10.0.0.1-53", "in/tcp/INTERNET-PORT-10.0.0.2-22"];
        let root = tree(&names);
        let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let file = fs::File::options().write(true).open(root.path().join(names[0]));
        file.and_then(|file| file.set_modified(time)).expect("set");
        let records = Recording::read(root.path()).expect("a tree").records;
        let found: Vec<_> = records.iter().map(|it| tree::path(&it.connection)).collect();
        assert_eq!(found, [names[1], names[0]]);
        assert_eq!(records[1].last_seen, time);
    }

    #[test]
    fn what_no_tracker_makes_is_no_connection() {
        let impossible = [
            "else/tcp/10.0.0.1-PORT-10.0.0.2-22",
            "else/tcp/INTERNET-1-10.0.0.2-22",
            "in/tcp/10.0.0.1-5-10.0.0.2-22",
            "in/tcp/10.0.0.1-PORT-INTERNET-22",
            "out/tcp/10.0.0.1-PORT-2001:db8::1-22",
            "out/tcp/INTERNET-PORT-10.0.0.2-22",
        ];
        assert_eq!(strangers(&impossible), impossible);
    }

    #[test]
    fn what_is_no_name_or_no_file_is_reported_wherever_it_is() {
        let paths = ["README", "in/sctp/x", "in/tcp/\n; flush ruleset", "lost+found/1"];
        assert_eq!(strangers(&paths), ["README", "in/sctp", paths[2], "lost+found"]);
        let directory = "out/tcp/10.0.0.1-PORT-INTERNET-443";
        assert_eq!(strangers(&[&format!("{directory}/x")]), [directory]);
    }

    #[test]
    fn no_link_is_followed() {
        let link = "out/tcp/10.0.0.1-PORT-INTERNET-443";
        let root = tree(&["out/tcp/x"]);
        symlink("/etc/passwd", root.path().join(link)).expect("linked");
        let recording = Recording::read(root.path()).expect("a tree");
        assert_eq!(recording.strangers[0], (link.into(), "no file"));

        symlink(root.path().join("out"), root.path().join("in")).expect("linked");
        let error = Recording::read(root.path()).expect_err("refused").to_string();
        assert!(error.contains("in is a file or a symbolic link"), "{error}");
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let link = scratch.path().join("link");
        symlink(root.path(), &link).expect("linked");
        Recording::read(&link.join(".")).expect_err("refused");
    }

    const RECORDING: &[u8] = b"{\"version\":1,\"since\":\"2026-11-01T00:00:00Z\"}";
    const BEFORE: &str = "2026-10-31T23:59:59Z";
    const AFTER: &str = "2026-11-01T00:00:00Z";

    /// A tree with evidence: what the recording tells, and a file with its time and its attribute.
    fn tree_with_evidence(recording: &[u8], file: &str, time: &str, evidence: &[u8]) -> TempDir {
        let root = tree(&[file]);
        let path = root.path().join(file);
        let set = |path: &Path, name: &str, value: &[u8]| {
            setxattr(path, name, value, XattrFlags::empty())
                .expect("a file system with attributes");
        };
        set(root.path(), "user.conntrack.recording", recording);
        if !evidence.is_empty() {
            set(&path, "user.conntrack.evidence", evidence);
        }
        let time = humantime::parse_rfc3339(time).expect("a time");
        let file = fs::File::options().write(true).open(path);
        file.and_then(|file| file.set_modified(time)).expect("set");
        root
    }

    /// The outcome of the only record, and what is said about it.
    fn outcome(root: &TempDir) -> (Outcome, Vec<(PathBuf, &'static str)>) {
        let recording = Recording::read(root.path()).expect("a tree");
        assert_eq!(recording.records.len(), 1);
        (recording.records[0].outcome, recording.unreadable)
    }

    const TCP: &str = "in/tcp/INTERNET-PORT-10.0.0.2-22";
    const UDP: &str = "in/udp/INTERNET-PORT-10.0.0.2-53";

    #[test]
    fn evidence_is_read_as_it_was_written() {
        for (file, word, evidence) in [
            (TCP, "answered", Evidence::Answered),
            (TCP, "refused", Evidence::Refused),
            (UDP, "answered", Evidence::Answered),
            (UDP, "served", Evidence::Served),
            (UDP, "reply", Evidence::Reply),
        ] {
            let root = tree_with_evidence(RECORDING, file, AFTER, word.as_bytes());
            assert_eq!(outcome(&root), (Outcome::Seen(evidence), Vec::new()), "{file} {word}");
        }
        let root = tree_with_evidence(RECORDING, TCP, AFTER, b"");
        assert_eq!(outcome(&root), (Outcome::None, Vec::new()));
    }

    #[test]
    fn evidence_from_before_it_was_recorded_is_unknown() {
        let root = tree_with_evidence(RECORDING, TCP, BEFORE, b"");
        assert_eq!(outcome(&root), (Outcome::Unknown, Vec::new()));
        assert_eq!(outcome(&tree(&[TCP])), (Outcome::Unknown, Vec::new()));
    }

    #[test]
    fn evidence_that_makes_no_sense_is_unknown_and_said() {
        let huge = vec![b'a'; 3_000];
        for (file, evidence) in [
            (TCP, &b"answered\n"[..]),
            (TCP, b"Answered"),
            (TCP, b"\xff\xfe"),
            (TCP, b"answered\0"),
            (TCP, &huge),
            (TCP, b"served"),
            (TCP, b"reply"),
            (UDP, b"refused"),
        ] {
            let (outcome, said) = outcome(&tree_with_evidence(RECORDING, file, AFTER, evidence));
            assert_eq!(outcome, Outcome::Unknown, "{evidence:?}");
            assert_eq!(said.len(), 1, "{evidence:?}");
            assert_eq!(said[0].0, Path::new(file));
        }
    }

    #[test]
    fn a_recording_that_makes_no_sense_is_unknown_and_said() {
        let huge = vec![b'['; 3_000];
        for recording in [&b"{}"[..], b"\xff", b"{\"version\":2}", &huge] {
            let (outcome, said) = outcome(&tree_with_evidence(recording, TCP, AFTER, b"answered"));
            assert_eq!(outcome, Outcome::Unknown, "{recording:?}");
            assert_eq!(said.len(), 1, "{recording:?}");
            assert_eq!(said[0].0, Path::new(""));
        }
    }

    #[test]
    fn when_a_file_was_made_is_not_when_it_was_last_seen() {
        let root = tree_with_evidence(RECORDING, TCP, BEFORE, b"");
        let mut recording = Recording::read(root.path()).expect("a tree");
        let record = recording.records.remove(0);
        let made = root.path().join(TCP).metadata().and_then(|metadata| metadata.created()).ok();
        assert_eq!(record.made, made);
        assert!(made.is_none_or(|made| made > record.last_seen));
    }

    #[test]
    fn nothing_is_made() {
        let root = tree(&["out/x"]);
        Recording::read(root.path()).expect("a tree");
        assert_eq!(fs::read_dir(root.path()).expect("read").count(), 1);
        let missing = root.path().join("missing");
        Recording::read(&missing).expect_err("there is none");
        assert!(!missing.exists());
        let error = Recording::read(&root.path().join("out")).expect_err("no tree").to_string();
        assert!(error.contains("holds no tree"), "{error}");
    }

    #[test]
    fn what_was_not_seen_lately_can_be_left_out() {
        let mut recording =
            Recording::read(tree(&["in/tcp/INTERNET-PORT-10.0.0.2-22"]).path()).expect("a tree");
        let last_seen = recording.records[0].last_seen;
        assert_eq!(recording.forget_before(last_seen), 0);
        assert_eq!(recording.forget_before(last_seen + Duration::from_nanos(1)), 1);
    }
}
