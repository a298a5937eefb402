//! What came of connections, on a file system that takes extended attributes.

use std::io::ErrorKind;

use rustix::fs::{XattrFlags, lgetxattr, lremovexattr, lsetxattr};

use super::*;
use crate::connection::Evidence;

const ATTRIBUTE: &str = "user.conntrack.evidence";

/// What somebody asked of a port of ours.
fn incoming() -> Connection {
    name::connection(Direction::In, Protocol::Udp, "10.0.0.1-PORT-192.168.200.230-514")
        .expect("a name of ours")
}

fn of_file(fixture: &Fixture, connection: &Connection) -> PathBuf {
    fixture.root().join(path(connection))
}

/// The attribute of a connection's file.
fn word(fixture: &Fixture, connection: &Connection) -> Option<String> {
    let mut word = [0; 64];
    let length = lgetxattr(of_file(fixture, connection), ATTRIBUTE, &mut word).ok()?;
    Some(String::from_utf8_lossy(&word[..length]).into_owned())
}

fn with(evidence: Evidence, connection: Connection) -> Sighting {
    Sighting { evidence: Some(evidence), ..Sighting::opened(connection) }
}

/// What answered a connection, and nothing of the connection itself.
fn only(evidence: Evidence, connection: Connection) -> Sighting {
    Sighting { has_packet: false, opens: false, ..with(evidence, connection) }
}

/// A datagram that answers one of ours.
fn reply(connection: Connection) -> Sighting {
    Sighting { opens: false, ..with(Evidence::Reply, connection) }
}

/// When anything of the file was last changed, its attributes among it.
fn changed(path: &Path) -> (i64, i64) {
    let metadata = fs::metadata(path).expect("a file");
    (metadata.ctime(), metadata.ctime_nsec())
}

#[track_caller]
fn keeps(tree: &mut Tree, sighting: Sighting) {
    let shown = tree.show(vec![sighting], LastSeen::Now);
    let error = shown.evidence.first_error;
    assert!(error.is_none() && shown.evidence.connections == 0, "{error:?}");
}

#[test]
fn what_came_of_a_connection_is_an_attribute_of_its_file() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    keeps(&mut tree, Sighting::opened(connection()));
    assert_eq!(word(&fixture, &connection()), None);
    for (evidence, expected) in [
        (Evidence::Refused, "refused"),
        (Evidence::Answered, "answered"),
        (Evidence::Refused, "answered"),
    ] {
        keeps(&mut tree, with(evidence, connection()));
        assert_eq!(word(&fixture, &connection()).as_deref(), Some(expected));
    }
    assert_eq!(fs::metadata(fixture.file()).expect("a file").len(), 0);
}

#[test]
fn an_answer_alone_makes_no_file_and_sets_no_time() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    keeps(&mut tree, only(Evidence::Answered, connection()));
    assert!(!fixture.file().exists());

    show(&mut tree, at(1_000));
    keeps(&mut tree, only(Evidence::Answered, connection()));
    assert_eq!(word(&fixture, &connection()).as_deref(), Some("answered"));
    assert_eq!(fs::metadata(fixture.file()).expect("a file").mtime(), 1_000);
}

#[test]
fn an_answer_is_kept_with_a_file_of_an_earlier_run() {
    let fixture = Fixture::new();
    show(&mut fixture.tree(), at(1_000));
    keeps(&mut fixture.tree(), only(Evidence::Refused, connection()));
    assert_eq!(word(&fixture, &connection()).as_deref(), Some("refused"));
    keeps(&mut fixture.tree(), with(Evidence::Answered, connection()));
    keeps(&mut fixture.tree(), with(Evidence::Refused, connection()));
    keeps(&mut fixture.tree(), Sighting::opened(connection()));
    assert_eq!(word(&fixture, &connection()).as_deref(), Some("answered"), "not weakened");
}

#[test]
fn what_was_only_ever_a_reply_is_one_until_something_else_comes() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    keeps(&mut tree, reply(incoming()));
    keeps(&mut tree, reply(incoming()));
    assert_eq!(word(&fixture, &incoming()).as_deref(), Some("reply"));
    keeps(&mut fixture.tree(), reply(incoming()));
    assert_eq!(word(&fixture, &incoming()).as_deref(), Some("reply"), "after a restart too");
    // In a run that has not read the word yet.
    let mut tree = fixture.tree();
    keeps(&mut tree, Sighting::opened(incoming()));
    assert_eq!(word(&fixture, &incoming()), None);
    keeps(&mut tree, reply(incoming()));
    keeps(&mut fixture.tree(), reply(incoming()));
    assert_eq!(word(&fixture, &incoming()), None, "it never is one again");
}

#[test]
fn both_in_one_batch_are_no_reply_in_whichever_order() {
    for order in [[0, 1], [1, 0]] {
        let fixture = Fixture::new();
        let sightings = [reply(incoming()), Sighting::opened(incoming())];
        fixture.tree().show(order.map(|at| sightings[at].clone()).to_vec(), LastSeen::Now);
        assert!(of_file(&fixture, &incoming()).exists());
        assert_eq!(word(&fixture, &incoming()), None);
    }
}

#[test]
fn what_is_known_is_not_set_again() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    keeps(&mut tree, with(Evidence::Answered, connection()));
    // It would come back if it were set, and not if it is known.
    lremovexattr(fixture.file(), ATTRIBUTE).expect("removed");
    let before = changed(&fixture.file());
    for evidence in [Evidence::Answered, Evidence::Refused] {
        keeps(&mut tree, only(evidence, connection()));
    }
    assert_eq!(changed(&fixture.file()), before);
    // Another run reads first: what is there is not set either.
    lsetxattr(fixture.file(), ATTRIBUTE, b"answered", XattrFlags::empty()).expect("set");
    let before = changed(&fixture.file());
    keeps(&mut fixture.tree(), only(Evidence::Answered, connection()));
    assert_eq!(changed(&fixture.file()), before);
}

#[test]
fn a_file_that_comes_back_starts_anew() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    keeps(&mut tree, with(Evidence::Answered, connection()));
    fs::remove_file(fixture.file()).expect("removed");
    keeps(&mut tree, only(Evidence::Answered, connection()));
    assert!(!fixture.file().exists());
    keeps(&mut tree, Sighting::opened(connection()));
    assert_eq!(word(&fixture, &connection()), None);
    keeps(&mut tree, only(Evidence::Answered, connection()));
    assert_eq!(word(&fixture, &connection()).as_deref(), Some("answered"));
}

#[test]
fn a_link_in_a_file_s_place_gets_no_word_and_its_target_neither() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    let target = fixture.scratch.path().join("target");
    fs::write(&target, "precious").expect("written");
    symlink(&target, fixture.file()).expect("linked");
    // Refused as a file; and where only an answer is seen, nobody looks whether it is one.
    tree.show(vec![with(Evidence::Answered, connection())], LastSeen::Now);
    tree.show(vec![only(Evidence::Answered, connection())], LastSeen::Now);
    assert_eq!(lgetxattr(&target, ATTRIBUTE, &mut [0_u8; 16]), Err(rustix::io::Errno::NODATA));
    fs::remove_file(fixture.file()).expect("removed");
    fs::create_dir(fixture.file()).expect("made");
    tree.show(vec![only(Evidence::Answered, connection())], LastSeen::Now);
    assert_eq!(word(&fixture, &connection()), None, "a directory is no file of ours");
}

#[test]
fn without_a_way_to_keep_it_everything_else_works() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    tree.way = Way::None;
    let sightings = [with(Evidence::Answered, connection()), with(Evidence::Served, incoming())];
    let shown = tree.show(sightings.to_vec(), LastSeen::Now);
    assert_eq!((shown.made.total(), shown.not_shown()), (2, 0));
    assert_eq!(shown.evidence.connections, 2);
    assert!(!shown.evidence.is_over);
    let error = shown.evidence.first_error.expect("an error").to_string();
    assert!(error.contains("/proc"), "{error}");

    tree.way = Way::Proc;
    let shown = tree.show(vec![only(Evidence::Answered, connection())], LastSeen::Now);
    assert!(shown.evidence.is_over && shown.evidence.first_error.is_none());
    assert_eq!(word(&fixture, &connection()).as_deref(), Some("answered"));
}

#[test]
fn what_can_be_done_is_said() {
    use rustix::io::Errno;
    for (errno, kind, advice) in [
        (Errno::NOTSUP, ErrorKind::Unsupported, "ext4, xfs, btrfs"),
        (Errno::NOSPC, ErrorKind::StorageFull, "make room"),
        (Errno::DQUOT, ErrorKind::QuotaExceeded, "quota"),
    ] {
        let error = TreeError::Evidence { path: "/tree".into(), source: errno.into() };
        let TreeError::Evidence { source, .. } = &error else { unreachable!() };
        assert_eq!(source.kind(), kind);
        assert!(error.to_string().contains(advice), "{error}");
    }
}

#[test]
fn a_root_that_was_made_again_states_the_same_again() {
    let fixture = Fixture::new();
    let mut tree = fixture.tree();
    let provenance = Provenance { lost: Some(5), ..Provenance::default() };
    tree.set_provenance(&provenance).expect("stated");
    let stated = || Provenance::of(&fixture.root()).expect("read");
    assert_eq!(stated().as_ref(), Some(&provenance));
    fs::remove_dir_all(fixture.root()).expect("removed");
    tree.set_provenance(&Provenance::default()).expect("to be stated when there is a root");
    assert!(!fixture.root().exists(), "nothing was seen");
    show(&mut tree, LastSeen::Now);
    assert_eq!(stated(), Some(Provenance::default()));
    fs::remove_dir_all(fixture.root()).expect("removed");
    show(&mut tree, LastSeen::Now);
    assert_eq!(stated(), Some(Provenance::default()));
}
