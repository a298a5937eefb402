//! What the rules in force dropped, or would have: the sets that their table keeps, as `nft` lists them, or
//! those of `ipset`; and the files of a tree that stand for it.

mod ipset;

use std::{
    collections::BTreeMap,
    fmt, io,
    net::IpAddr,
    process::Command,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::{
    connection::{Connection, Direction, Host, Protocol, SourcePort},
    print::nftables,
    recording::Recording,
    tracker::Scope,
    tree,
    utc::Utc,
};

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum DroppedError {
    /// The program.
    #[error("cannot run nft, which lists what was dropped: {0}")]
    Run(io::Error),
    /// It refused.
    #[error(
        "cannot list what was dropped: {0}; it takes root, and rules of conntrack that are loaded"
    )]
    List(String),
    /// Not what it used to print.
    #[error("what nft lists is not understood: {0}")]
    NotUnderstood(String),
}

/// What was dropped.
#[derive(Debug)]
pub struct Dropped(pub Vec<Entry>);

/// Packets with the same ends, to the same port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As a file of the tree. With `else` and without a file the source port is unknown.
    pub connection: Option<Connection>,
    /// Whether the tree has that file.
    pub has_file: bool,
    /// How many packets; nobody counts them for iptables.
    pub packets: Option<u64>,
    /// When the last one came.
    pub last_seen: SystemTime,
    packet: Packet,
}

/// What a set keeps of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packet {
    direction: Direction,
    protocol: Protocol,
    source: IpAddr,
    destination: IpAddr,
    port: u16,
}

impl Dropped {
    /// What the rules in force keep, beside a tree: those of nftables, those of iptables.
    ///
    /// # Errors
    /// Neither keeps anything, or is understood.
    pub fn now(recording: &Recording, scope: &Scope) -> Result<Self, DroppedError> {
        let names = Names::of(recording, scope);
        let now = SystemTime::now();
        let nftables = by_nftables().and_then(|listed| read(&listed, &names, now));
        let kept = ipset::list().ok().flatten();
        let mut entries = match (nftables, &kept) {
            (Ok(entries), _) => entries,
            (Err(DroppedError::Run(_) | DroppedError::List(_)), Some(_)) => Vec::new(),
            (Err(error), _) => return Err(error),
        };
        for element in kept.into_iter().flatten() {
            let element = element.map_err(DroppedError::NotUnderstood)?;
            entries.extend(names.element(&element, now));
        }
        Ok(Self::sorted(entries))
    }

    fn sorted(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| {
            let Packet { direction, protocol, port, source, destination } = entry.packet;
            (direction, protocol, port, source, destination)
        });
        Self(entries)
    }
}

/// The table of ours, as `nft` lists it.
fn by_nftables() -> Result<Vec<u8>, DroppedError> {
    let table: Vec<_> = nftables::TABLE.split(' ').collect();
    let mut nft = Command::new("nft");
    nft.args(["-j", "-n", "list", "table"]).args(table);
    let output = nft.output().map_err(DroppedError::Run)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().next().unwrap_or_default();
        return Err(DroppedError::List(line.trim_start_matches("Error: ").to_owned()));
    }
    Ok(output.stdout)
}

fn read(listed: &[u8], names: &Names, now: SystemTime) -> Result<Vec<Entry>, DroppedError> {
    let listed: Value = serde_json::from_slice(listed)
        .map_err(|error| DroppedError::NotUnderstood(error.to_string()))?;
    let objects = listed["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut entries = Vec::new();
    for set in objects.iter().map(|object| &object["set"]) {
        let Some(direction) = set["name"].as_str().and_then(direction) else { continue };
        for element in set["elem"].as_array().into_iter().flatten() {
            let entry = names.entry(direction, &element["elem"], now);
            let not_understood = || DroppedError::NotUnderstood(element.to_string());
            entries.push(entry.ok_or_else(not_understood)?);
        }
    }
    Ok(entries)
}

/// The direction of a set's chain.
fn direction(set: &str) -> Option<Direction> {
    match set.strip_prefix("dropped_")?.split('_').next()? {
        "input" => Some(Direction::In),
        "output" => Some(Direction::Out),
        "forward" => Some(Direction::Else),
        _ => None,
    }
}

/// The files that a tree has, and how it names others.
struct Names<'a> {
    /// By protocol, ends and port.
    files: BTreeMap<(Protocol, Host, Host, u16), Connection>,
    scope: &'a Scope,
}

impl<'a> Names<'a> {
    fn of(recording: &Recording, scope: &'a Scope) -> Self {
        let files = recording.records.iter().map(|record| {
            let it = record.connection;
            ((it.protocol, it.source, it.destination, it.destination_port), it)
        });
        Self { files: files.collect(), scope }
    }

    /// An element of a set; `None` if it has another form.
    fn entry(&self, direction: Direction, element: &Value, now: SystemTime) -> Option<Entry> {
        let [source, destination, protocol, port] = &element["val"]["concat"].as_array()?[..]
        else {
            return None;
        };
        let packet = Packet {
            direction,
            source: source.as_str()?.parse().ok()?,
            destination: destination.as_str()?.parse().ok()?,
            protocol: read_protocol(protocol)?,
            port: port.as_u64()?.try_into().ok()?,
        };
        let seconds = |field: &str| element[field].as_u64().map(Duration::from_secs);
        let ago = seconds("timeout").zip(seconds("expires"));
        let ago = ago.map_or(Duration::ZERO, |(timeout, left)| timeout.saturating_sub(left));
        let packets = element["counter"]["packets"].as_u64()?;
        Some(self.of_packet(packet, Some(packets), now.checked_sub(ago)?))
    }

    /// An element of a set of `ipset`; `None` for a set that is not ours.
    fn element(&self, element: &ipset::Element, now: SystemTime) -> Option<Entry> {
        let ipset::Element { protocol, source, destination, port, ago, .. } = *element;
        let is_it = |it: &Direction| tree::direction_directory(*it) == element.direction;
        let direction = Direction::ALL.into_iter().find(is_it)?;
        let packet = Packet { direction, protocol, source, destination, port };
        Some(self.of_packet(packet, None, now.checked_sub(ago)?))
    }

    fn of_packet(&self, packet: Packet, packets: Option<u64>, last_seen: SystemTime) -> Entry {
        let (connection, has_file) = self.connection(packet);
        Entry { connection, has_file, packets, last_seen, packet }
    }

    /// The file that stands for packets, or would; and whether it is there. What arrives for many is in
    /// `else`.
    fn connection(&self, packet: Packet) -> (Option<Connection>, bool) {
        let Packet { direction, protocol, source, destination, port } = packet;
        let folded = |address: IpAddr, is_peer: bool| {
            let is_internet = is_peer && self.scope.is_internet(address);
            if is_internet { Host::Internet } else { Host::Address(address) }
        };
        let exact = (Host::Address(source), Host::Address(destination));
        let as_folded = (
            folded(source, direction == Direction::In),
            folded(destination, direction == Direction::Out),
        );
        let file = [exact, as_folded].into_iter().find_map(|(source, destination)| {
            self.files.get(&(protocol, source, destination, port))
        });
        if let Some(file) = file {
            return (Some(*file), true);
        }
        let new = Connection {
            direction,
            protocol,
            source: as_folded.0,
            source_port: SourcePort::Any,
            destination: as_folded.1,
            destination_port: port,
        };
        (Some(new).filter(|_| direction != Direction::Else && !destination.is_multicast()), false)
    }
}

/// By its name or its number.
fn read_protocol(value: &Value) -> Option<Protocol> {
    match value.as_str() {
        Some("tcp") => Some(Protocol::Tcp),
        Some("udp") => Some(Protocol::Udp),
        Some(number) => Protocol::from_number(number.parse().ok()?),
        None => Protocol::from_number(value.as_u64()?.try_into().ok()?),
    }
}

impl Entry {
    /// The path of its file in the tree, whether it is there or not.
    pub fn path(&self) -> Option<String> {
        self.connection.as_ref().map(tree::path)
    }
}

impl fmt::Display for Dropped {
    /// A line for each, those of one port together.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Packet { direction, protocol, source, destination, port } = self.packet;
        let direction = tree::direction_directory(direction);
        let protocol = tree::protocol_directory(protocol);
        let packets = self.packets.map(|it| usize::try_from(it).unwrap_or(usize::MAX));
        let packets = packets.map(|it| crate::print::words::count_of(it, "packet") + ", ");
        let packets = packets.unwrap_or_default();
        let seen = Utc(self.last_seen);
        write!(f, "{direction} {protocol} {source} to {destination} {port}: {packets}last {seen}")?;
        match self.path() {
            Some(path) if self.has_file => write!(f, "; {path}"),
            Some(path) => write!(f, "; no file {path}"),
            None => write!(f, "; no file"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::record::{Outcome, Record};

    const LISTED: &str = r#"{"nftables":[{"metainfo":{}},{"table":{"name":"conntrack_learned"}},
        {"set":{"name":"internet_v4","elem":["0.0.0.0"]}},
        {"set":{"name":"dropped_input_v6"}},
        {"set":{"name":"dropped_input_v4","elem":[
            {"elem":{"val":{"concat":["203.0.113.9","10.0.0.2","tcp",443]},"timeout":691200,
                "expires":691190,"counter":{"packets":3,"bytes":180}}},
            {"elem":{"val":{"concat":["10.0.0.7","10.0.0.2",17,53]},"timeout":691200,
                "expires":691200,"counter":{"packets":1,"bytes":60}}}]}},
        {"set":{"name":"dropped_forward_v4","elem":[
            {"elem":{"val":{"concat":["10.0.0.7","10.8.0.2","udp",53]},"timeout":691200,
                "expires":691200,"counter":{"packets":1,"bytes":60}}}]}}]}"#;

    fn connection(source: Host) -> Connection {
        Connection {
            direction: Direction::In,
            protocol: Protocol::Tcp,
            source,
            source_port: SourcePort::Any,
            destination: Host::Address([10, 0, 0, 2].into()),
            destination_port: 443,
        }
    }

    fn read(listed: &str, files: &[Connection]) -> Result<Dropped, DroppedError> {
        let record = |it: &Connection| Record::of(*it, Outcome::None, UNIX_EPOCH);
        let records = files.iter().map(record).collect();
        let recording = Recording { records, ..Recording::default() };
        let now = UNIX_EPOCH + Duration::from_secs(20);
        let scope = Scope::default();
        let names = Names::of(&recording, &scope);
        super::read(listed.as_bytes(), &names, now).map(Dropped::sorted)
    }

    #[test]
    fn what_was_dropped_is_named_by_its_file() {
        let dropped = read(LISTED, &[connection(Host::Internet)]).expect("read");
        assert_eq!(
            dropped.to_string(),
            "in tcp 203.0.113.9 to 10.0.0.2 443: 3 packets, last 1970-01-01T00:00:10Z; \
             in/tcp/INTERNET-PORT-10.0.0.2-443\n\
             in udp 10.0.0.7 to 10.0.0.2 53: 1 packet, last 1970-01-01T00:00:20Z; no file \
             in/udp/10.0.0.7-PORT-10.0.0.2-53\n\
             else udp 10.0.0.7 to 10.8.0.2 53: 1 packet, last 1970-01-01T00:00:20Z; no file\n"
        );
        let exact = connection(Host::Address([203, 0, 113, 9].into()));
        let dropped = read(LISTED, &[connection(Host::Internet), exact]).expect("read");
        assert_eq!(dropped.0[0].connection, Some(exact));
    }

    #[test]
    fn what_nft_never_printed_is_an_error_and_no_panic() {
        for odd in [
            "",
            "[]x",
            r#"{"nftables":[{"set":{"name":"dropped_input_v4","elem":["10.0.0.1"]}}]}"#,
            r#"{"nftables":[{"set":{"name":"dropped_input_v4","elem":[{"elem":{"val":1}}]}}]}"#,
        ] {
            assert!(read(odd, &[]).is_err(), "{odd}");
        }
        for nothing in ["{}", "[]", r#"{"nftables":[{"set":{"name":"dropped_x"}}]}"#] {
            assert!(read(nothing, &[]).expect("nothing").0.is_empty(), "{nothing}");
        }
    }
}
