//! Warnings about rules: connections that are rare but vital and were not seen, and what a recording
//! cannot tell.

use super::{
    choosing::is_to_group,
    vocabulary::{BaseChain, Chain, PortRange, Request},
};
use crate::{
    connection::{Connection, Direction, Host, IpVersion, Protocol},
    record::Record,
    recording::Recording,
};

const SSH: u16 = 22;
const DNS: u16 = 53;
/// Where Linux takes source ports from, unless told otherwise (`ip_local_port_range`).
const EPHEMERAL: PortRange = PortRange { first: 32_768, last: 60_999 };

/// Something that the user has to know before the rules are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// There is no chain at all.
    NoConnection,
    /// There is no connection of this direction, in or out, so none of it is refused.
    NoneOf(Direction),
    /// There is no incoming ssh.
    NoSsh,
    /// There is DNS over UDP without DNS over TCP, to which resolvers fall back for long answers.
    NoDnsOverTcp {
        /// Of clients of this host.
        incoming: bool,
        /// Of this host.
        outgoing: bool,
    },
    /// There is no connection of this version, but of the other one.
    NoneOver(IpVersion),
    /// So many connections over UDP to an ephemeral port, which may be answers.
    Ephemeral(Direction, usize),
    /// So many connections in `else` to multicast or broadcast: a program here may listen to them.
    GroupListeners(usize),
    /// So many connections to multicast or broadcast: whoever answers has an address of its own, so
    /// that netfilter's connection tracking does not know the answer.
    GroupRequests(usize),
    /// The rules refuse, and for every device.
    EveryDevice,
}

/// What the user has to know about these rules.
pub(super) fn about(recording: &Recording, chains: &[Chain], request: &Request) -> Vec<Warning> {
    let seen = Seen { records: &recording.records, chains };
    let warnings = [
        seen.nothing(),
        seen.one_direction(),
        seen.ssh(),
        seen.dns(),
        seen.one_version(),
        seen.ephemeral(Direction::In),
        seen.ephemeral(Direction::Out),
        seen.group_listeners(),
        seen.group_requests(),
        every_device(request),
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

    fn has_port(&self, direction: Direction, protocol: Protocol, port: u16) -> bool {
        let wanted = (direction, protocol, port);
        self.count(|it| (it.direction, it.protocol, it.destination_port) == wanted) > 0
    }

    fn has_chain(&self, base: BaseChain) -> bool {
        self.chains.iter().any(|chain| chain.base == base)
    }

    fn nothing(&self) -> Option<Warning> {
        self.chains.is_empty().then_some(Warning::NoConnection)
    }

    fn one_direction(&self) -> Option<Warning> {
        match (self.has_chain(BaseChain::Input), self.has_chain(BaseChain::Output)) {
            (false, true) => Some(Warning::NoneOf(Direction::In)),
            (true, false) => Some(Warning::NoneOf(Direction::Out)),
            _ => None,
        }
    }

    fn ssh(&self) -> Option<Warning> {
        let has_ssh = self.has_port(Direction::In, Protocol::Tcp, SSH);
        (self.has_chain(BaseChain::Input) && !has_ssh).then_some(Warning::NoSsh)
    }

    fn dns(&self) -> Option<Warning> {
        let lacks_tcp = |direction| {
            self.has_port(direction, Protocol::Udp, DNS)
                && !self.has_port(direction, Protocol::Tcp, DNS)
        };
        let incoming = lacks_tcp(Direction::In);
        let outgoing = lacks_tcp(Direction::Out);
        (incoming || outgoing).then_some(Warning::NoDnsOverTcp { incoming, outgoing })
    }

    fn one_version(&self) -> Option<Warning> {
        let is_v6 = |host| matches!(host, Host::Address(address) if address.is_ipv6());
        let v6 = self.count(|it| is_v6(it.source) || is_v6(it.destination));
        match (v6, self.records.len() - v6) {
            (0, 1..) => Some(Warning::NoneOver(IpVersion::V6)),
            (1.., 0) => Some(Warning::NoneOver(IpVersion::V4)),
            _ => None,
        }
    }

    fn ephemeral(&self, direction: Direction) -> Option<Warning> {
        let is_ephemeral = |it: &Connection| {
            (it.direction, it.protocol) == (direction, Protocol::Udp)
                && EPHEMERAL.contains(it.destination_port)
        };
        let count = self.count(is_ephemeral);
        (count > 0).then_some(Warning::Ephemeral(direction, count))
    }

    fn group_listeners(&self) -> Option<Warning> {
        let is_one = |it: &&Record| it.connection.direction == Direction::Else && is_to_group(it);
        let count = self.records.iter().filter(is_one).count();
        let is_refused = count > 0 && self.has_chain(BaseChain::Input);
        is_refused.then_some(Warning::GroupListeners(count))
    }

    fn group_requests(&self) -> Option<Warning> {
        let is_one = |it: &&Record| it.connection.direction == Direction::Out && is_to_group(it);
        let count = self.records.iter().filter(is_one).count();
        let is_refused = count > 0 && self.has_chain(BaseChain::Input);
        is_refused.then_some(Warning::GroupRequests(count))
    }
}

fn every_device(request: &Request) -> Option<Warning> {
    (request.enforce && request.device.is_none()).then_some(Warning::EveryDevice)
}
