//! What came of conversations in a capture file, in any order, with any pauses and answers, with both ways
//! to tell the direction of UDP, in many batches and in one: against an oracle that knows no frames.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

use pcap::{Capture, Linktype, Packet, PacketHeader};
use proptest::{prelude::*, test_runner::Config};

use crate::support::{
    conntrack,
    evidence::evidence,
    frames::{Tcp, tcp, udp},
    usual::end,
};

const HOST: &str = "192.168.200.230";
/// Few, so that conversations meet; none of the internet, so that each shows by its name.
const ENDS: [&str; 4] = ["192.168.200.230:4500", "10.0.0.1:4500", "10.0.0.1:5060", "10.0.0.2:5060"];

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Datagram,
    /// A connection is opened; what comes back.
    Connection(Answer),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Nothing,
    Accepted,
    Refused,
    /// A reset of something else: it has a sequence number.
    Reset,
    /// First the one, then the other.
    RefusedThenAccepted,
    AcceptedThenRefused,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    /// Seconds after the event before it.
    pause: u64,
    kind: Kind,
    from: SocketAddr,
    to: SocketAddr,
}

fn answers() -> impl Strategy<Value = Answer> {
    use Answer::{Accepted, AcceptedThenRefused, Nothing, Refused, RefusedThenAccepted, Reset};
    prop::sample::select(vec![
        Nothing,
        Accepted,
        Refused,
        Reset,
        RefusedThenAccepted,
        AcceptedThenRefused,
    ])
}

/// Every other one goes the way back of the one before. Pauses add up to less than 30 s and 120 s by
/// far, or not to less.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let pause = prop::sample::select(vec![0, 0, 0, 10, 20, 40, 110, 140]);
    let kind = prop_oneof![4 => Just(Kind::Datagram), 1 => answers().prop_map(Kind::Connection)];
    let ends = prop::sample::select(ENDS.to_vec()).prop_map(end);
    let event = (pause, kind, ends.clone(), ends, any::<bool>())
        .prop_filter("two ends", |(_, _, from, to, _)| from != to)
        .prop_map(|(pause, kind, from, to, is_back)| (Event { pause, kind, from, to }, is_back));
    prop::collection::vec(event, 1..80).prop_map(|events| {
        let mut before: Option<Event> = None;
        let turned = events.into_iter().map(|(event, is_back)| {
            let turned = match before {
                Some(before) if is_back => Event { from: before.to, to: before.from, ..event },
                _ => event,
            };
            before = Some(turned);
            turned
        });
        turned.collect()
    })
}

/// The frames of events, with their times. Each connection has a source port of its own.
fn frames(events: &[Event]) -> Vec<(Duration, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut now = Duration::from_hours(500_000);
    for (event, number) in events.iter().zip(10_000..) {
        now += Duration::from_secs(event.pause) + Duration::from_millis(1);
        let Kind::Connection(answer) = event.kind else {
            frames.push((now, udp(event.from, event.to)));
            continue;
        };
        let from = SocketAddr::new(event.from.ip(), number);
        frames.push((now, tcp(from, event.to, Tcp::Syn)));
        let back = |flags| tcp(event.to, from, flags);
        let answers = match answer {
            Answer::Nothing => vec![],
            Answer::Accepted => vec![back(Tcp::SynAck)],
            Answer::Refused => vec![back(Tcp::Reset)],
            Answer::Reset => vec![back(Tcp::Abort)],
            Answer::RefusedThenAccepted => vec![back(Tcp::Reset), back(Tcp::SynAck)],
            Answer::AcceptedThenRefused => vec![back(Tcp::SynAck), back(Tcp::Reset)],
        };
        frames.extend(answers.into_iter().map(|frame| (now, frame)));
    }
    frames
}

/// What came of each connection, by its path.
#[derive(Default)]
struct Oracle {
    words: BTreeMap<String, Word>,
    conversations: BTreeMap<(SocketAddr, SocketAddr), Conversation>,
}

/// What a file is told by.
#[derive(Default)]
struct Word {
    is_answered: bool,
    is_refused: bool,
    requests: usize,
    replies: usize,
}

/// A UDP conversation, by who began and with whom.
#[derive(Default)]
struct Conversation {
    last: u64,
    is_answered: bool,
}

impl Oracle {
    fn tell(events: &[Event], with_pairs: bool) -> BTreeMap<String, String> {
        let mut oracle = Self::default();
        let mut now = 0;
        for (event, number) in events.iter().zip(10_000..) {
            now += event.pause;
            match event.kind {
                Kind::Datagram => oracle.datagram(event, now, with_pairs),
                Kind::Connection(answer) => {
                    let from = SocketAddr::new(event.from.ip(), number);
                    let word = oracle.words.entry(path("tcp", from, event.to)).or_default();
                    word.is_answered |= matches!(
                        answer,
                        Answer::Accepted
                            | Answer::RefusedThenAccepted
                            | Answer::AcceptedThenRefused
                    );
                    word.is_refused |= answer == Answer::Refused;
                }
            }
        }
        oracle.words.into_iter().map(|(path, word)| (path, word.text().to_owned())).collect()
    }

    fn datagram(&mut self, event: &Event, now: u64, with_pairs: bool) {
        self.conversations.retain(|_, it| now - it.last < if it.is_answered { 120 } else { 30 });
        let Event { from, to, .. } = *event;
        let is_reply = self.conversations.contains_key(&(to, from));
        if is_reply {
            self.conversations.insert((to, from), Conversation { last: now, is_answered: true });
        } else {
            let begun = self.conversations.entry((from, to)).or_default();
            begun.last = now;
        }
        if is_reply {
            self.words.entry(path("udp", to, from)).or_default().is_answered = true;
        }
        if !(is_reply && with_pairs) {
            let word = self.words.entry(path("udp", from, to)).or_default();
            word.requests += usize::from(!is_reply);
            word.replies += usize::from(is_reply);
        }
    }
}

impl Word {
    fn text(&self) -> &'static str {
        match self {
            Self { is_answered: true, .. } => "answered",
            Self { is_refused: true, .. } => "refused",
            Self { requests: 0, replies: 1.., .. } => "reply",
            _ => "",
        }
    }
}

/// The file of a flow.
fn path(protocol: &str, from: SocketAddr, to: SocketAddr) -> String {
    let host = end(&format!("{HOST}:0")).ip();
    let (source, destination) = (from.ip(), to.ip());
    let port = to.port();
    if source == host {
        format!("out/{protocol}/{source}-PORT-{destination}-{port}")
    } else if destination == host {
        format!("in/{protocol}/{source}-PORT-{destination}-{port}")
    } else {
        format!("else/{protocol}/{source}-{}-{destination}-{port}", from.port())
    }
}

fn write(file: &Path, frames: &[(Duration, Vec<u8>)]) {
    let capture = Capture::dead(Linktype::ETHERNET).expect("a capture");
    let mut savefile = capture.savefile(file).expect("a file");
    for (time, frame) in frames {
        let length = u32::try_from(frame.len()).expect("a frame's length");
        let ts = libc::timeval {
            tv_sec: libc::time_t::try_from(time.as_secs()).expect("a time"),
            tv_usec: time.subsec_micros().into(),
        };
        savefile.write(&Packet::new(&PacketHeader { ts, caplen: length, len: length }, frame));
    }
    savefile.flush().expect("written");
}

fn found(capture: &Path, arguments: &[&str]) -> BTreeMap<String, String> {
    let tree = tempfile::tempdir().expect("a scratch directory");
    let mut command = conntrack();
    command.arg("-r").arg(capture).args(["--local", HOST, "-q", "-p"]).arg(tree.path());
    let output = command.args(arguments).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    evidence(tree.path())
}

/// Many batches, and one.
const BATCHES: [&str; 2] = ["1s", "1h"];

proptest! {
    #![proptest_config(Config { cases: 64, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_capture_s_evidence_is_the_oracle_s(events in events()) {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let capture = scratch.path().join("capture.pcap");
        write(&capture, &frames(&events));
        for (direction, with_pairs) in [("ports", false), ("pairs", true)] {
            let expected = Oracle::tell(&events, with_pairs);
            for interval in BATCHES {
                let arguments = ["--udp-direction", direction, "--interval", interval];
                let found = found(&capture, &arguments);
                prop_assert_eq!(&found, &expected, "{} {}", direction, interval);
            }
        }
    }
}
