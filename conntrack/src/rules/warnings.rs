//! What is easily forgotten when a machine's firewall is made from what was seen of it: rare but
//! vital connections, and what a tree cannot hold.

use super::rule_set::{Chain, Options, count_of, is_to_group};
use crate::{
    connection::{Connection, Direction, Host, Protocol},
    recording::{Record, Recording},
};

const SSH: u16 = 22;
const DNS: u16 = 53;
/// Where Linux takes source ports from, unless told otherwise (`ip_local_port_range`).
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;

/// One line each.
pub(super) fn about(recording: &Recording, chains: &[Chain], options: &Options) -> Vec<String> {
    let seen = Seen { records: &recording.records, chains };
    let warnings = [
        seen.nothing(),
        seen.directions(),
        seen.ssh(),
        seen.dns(),
        seen.one_family(),
        seen.ephemeral(Direction::In),
        seen.ephemeral(Direction::Out),
        seen.group_listeners(),
        seen.group_requests(),
        every_device(options),
    ];
    warnings.into_iter().flatten().collect()
}

struct Seen<'a> {
    records: &'a [Record],
    chains: &'a [Chain],
}

impl Seen<'_> {
    fn count(&self, condition: impl Fn(&Connection) -> bool) -> usize {
        self.records.iter().filter(|record| condition(&record.connection)).count()
    }

    fn port(&self, direction: Direction, protocol: Protocol, port: u16) -> bool {
        let what = (direction, protocol, port);
        self.count(|it| (it.direction, it.protocol, it.destination_port) == what) > 0
    }

    fn has_chain(&self, direction: Direction) -> bool {
        self.chains.iter().any(|chain| chain.direction == direction)
    }

    fn nothing(&self) -> Option<String> {
        self.chains.is_empty().then(|| "no connection to make a rule of: no chain".to_owned())
    }

    fn directions(&self) -> Option<String> {
        let missing = match (self.has_chain(Direction::In), self.has_chain(Direction::Out)) {
            (false, true) => "no incoming connection seen: no input chain",
            (true, false) => "no outgoing connection seen: no output chain",
            _ => return None,
        };
        Some(format!("{missing}, so nothing is refused there"))
    }

    fn ssh(&self) -> Option<String> {
        let missing =
            self.has_chain(Direction::In) && !self.port(Direction::In, Protocol::Tcp, SSH);
        missing.then(|| "no incoming ssh (TCP port 22) seen: it would be refused".to_owned())
    }

    /// A resolver falls back to TCP for long answers, which may not come for weeks.
    fn dns(&self) -> Option<String> {
        let lacks_tcp = |direction| {
            self.port(direction, Protocol::Udp, DNS) && !self.port(direction, Protocol::Tcp, DNS)
        };
        let seen = match (lacks_tcp(Direction::In), lacks_tcp(Direction::Out)) {
            (false, false) => return None,
            (true, false) => "incoming",
            (false, true) => "outgoing",
            (true, true) => "incoming and outgoing",
        };
        Some(format!("{seen} DNS over UDP but not over TCP (port 53): long answers need TCP"))
    }

    fn one_family(&self) -> Option<String> {
        let is_v6 = |host| matches!(host, Host::Address(address) if address.is_ipv6());
        let v6 = self.count(|it| is_v6(it.source) || is_v6(it.destination));
        let missing = match (v6, self.records.len() - v6) {
            (0, 1..) => "IPv6",
            (1.., 0) => "IPv4",
            _ => return None,
        };
        Some(format!("no {missing} connection seen: all of {missing} would be refused"))
    }

    /// UDP has no opening packet: what the recorder could not tell from a request is in the tree.
    fn ephemeral(&self, direction: Direction) -> Option<String> {
        let is_ephemeral = |it: &Connection| {
            (it.direction, it.protocol) == (direction, Protocol::Udp)
                && EPHEMERAL.contains(&it.destination_port)
        };
        let count = self.count(is_ephemeral);
        let advice = match direction {
            Direction::In => "incoming UDP to an ephemeral port may be answers, which need no rule",
            _ => {
                "outgoing UDP to an ephemeral port may be answers; record with -u PORT of the server"
            }
        };
        (count > 0).then(|| format!("{}: {advice}", count_of(count, "connection")))
    }

    /// What comes for many hosts is no connection to this one, but arrives at its input chain.
    fn group_listeners(&self) -> Option<String> {
        let others = |it: &&Record| it.connection.direction == Direction::Else && is_to_group(it);
        let count = self.records.iter().filter(others).count();
        let what =
            "to multicast or broadcast (else) would be refused: if a program here listens to";
        (count > 0 && self.has_chain(Direction::In))
            .then(|| format!("{} {what} it, add a rule", count_of(count, "connection")))
    }

    /// Whoever answers a group has an address of its own, which no connection is known with.
    fn group_requests(&self) -> Option<String> {
        let requests = |it: &&Record| it.connection.direction == Direction::Out && is_to_group(it);
        let count = self.records.iter().filter(requests).count();
        let what = "to multicast or broadcast: answers come from other addresses and need rules";
        (count > 0 && self.has_chain(Direction::In))
            .then(|| format!("{} {what} of their own", count_of(count, "outgoing connection")))
    }
}

fn every_device(options: &Options) -> Option<String> {
    let missing = options.enforce && options.device.is_none();
    missing.then(|| "the rules hold for every device; --device limits them to one".to_owned())
}
