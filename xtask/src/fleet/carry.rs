//! What carries events away: the journal and its upload, and rsyslog, in a Debian of their own. Everything runs in mount,
//! PID and network namespaces that end with it; the addresses are those of loopback there.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value};

use super::places::{Places, read};
use crate::{
    folder::start_anew,
    fresh::{
        debian::{Debian, Release},
        enter::apart,
        kept::kept,
        root::Root,
        step::Log,
    },
};

const PACKAGES: &str = "libpcap0.8 rsyslog systemd systemd-journal-remote";

/// What tells an event from others.
const FIELDS: [&str; 8] = [
    "event",
    "direction",
    "protocol",
    "source",
    "source_port",
    "destination",
    "destination_port",
    "evidence",
];

/// An event's fields as text.
type Event = Vec<(&'static str, String)>;

pub(super) fn check(places: &Places, release: &Release, log: &Log) -> Result<()> {
    let root = image(places, release, log)?;
    let inside = root.make_folder("/carry")?;
    start_anew(&inside)?;
    for (from, to) in [
        (places.conntrack.clone(), "conntrack"),
        (places.workspace.root.join("testdata/seed.pcap"), "seed.pcap"),
        (places.workspace.root.join("xtask/src/fleet/carry.sh"), "carry.sh"),
        (places.recipes.join("rsyslog-client.conf"), "rsyslog-client.conf"),
        (places.recipes.join("rsyslog-server.conf"), "rsyslog-server.conf"),
    ] {
        root.copy(&from, &format!("/carry/{to}"))?;
    }
    for old in ["/tree", "/tree2", "/srv/remote"] {
        start_anew(&root.make_folder(old)?)?;
    }
    root.write("/var/log/conntrack.jsonl", "")?;
    let mut chroot = apart(&places.workspace);
    chroot.args([
        "--net",
        "sh",
        "-euc",
        "ip link set lo up; mount --rbind /sys \"$0/sys\"; chroot \"$0\" sh /carry/carry.sh /carry",
    ]);
    log.run(chroot.arg(root.path()))?;
    compare(places, &inside)
}

/// Each event came, once, by both ways, and it says the same.
fn compare(places: &Places, inside: &Path) -> Result<()> {
    let told = events(&inside.join("events.jsonl"), str::to_owned)?;
    let journal = |field: &str| format!("CONNTRACK_{}", field.to_uppercase());
    ensure!(!told.is_empty(), "no event");
    ensure!(
        events(&inside.join("remote.jsonl"), journal)? == told,
        "the journal's upload brought other events"
    );
    ensure!(
        events(&inside.join("rsyslog.jsonl"), str::to_owned)? == told,
        "rsyslog brought other events"
    );
    let document = read(&places.workspace.root.join("docs/fleet.md"))?;
    for line in read(&inside.join("versions"))?.lines() {
        // As in `systemd 252 (252.39-1~deb12u2)` and `rsyslogd  8.2302.0 (aka 2023.02) ...`.
        let words: Vec<_> = line.split_whitespace().take(2).collect();
        let version = words.join(" ").replace("rsyslogd", "rsyslog");
        ensure!(document.contains(&version), "docs/fleet.md does not name {version}");
    }
    Ok(())
}

/// The events in a file, in order of their text; `name` is what a field is called there.
fn events(path: &Path, name: impl Fn(&str) -> String) -> Result<Vec<Event>> {
    let event = |line: &str| -> Result<Event> {
        let fields: Map<String, Value> =
            serde_json::from_str(line).with_context(|| line.to_owned())?;
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let field = |field: &'static str| {
            let value = fields.get(&name(field)).map(text).unwrap_or_default();
            // What is unknown is null, missing or empty.
            (field, value.replace("null", ""))
        };
        Ok(FIELDS.into_iter().map(field).collect())
    };
    let mut events: Vec<_> = read(path)?.lines().map(event).collect::<Result<_>>()?;
    events.sort_unstable();
    let distinct: BTreeSet<_> = events.iter().collect();
    ensure!(distinct.len() == events.len(), "{}: an event came twice", path.display());
    Ok(events)
}

fn image(places: &Places, release: &Release, log: &Log) -> Result<Root> {
    let debian = Debian::find(release, &["ca-certificates"])?;
    kept(&places.workspace, &places.own.join("debian"), &debian, PACKAGES, log)
}
