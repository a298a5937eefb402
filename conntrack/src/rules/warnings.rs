//! Warnings about rules: connections that are rare but vital and have no rule, and what a recording
//! cannot tell.

use std::{collections::BTreeSet, net::IpAddr, time::SystemTime};

use super::{
    answers::GroupRequests,
    choosing::Choice,
    data::{Helper, beyond_ephemeral},
    ephemeral::Ports,
    essentials::DHCPV6,
    grouping::ends,
    internet::may_be_group,
    vocabulary::{BaseChain, PortRange, Request, Standing},
};
use crate::{
    connection::{Connection, Direction, Host, IpVersion, Protocol},
    record::{Outcome, Record},
    recording::Recording,
};

const SSH: u16 = 22;
pub(super) const DNS: u16 = 53;
/// Something that the user has to know before the rules are in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// There is no chain at all.
    NoConnection,
    /// Nothing of this direction, in or out, was seen, so none of it is refused.
    NoneOf(Direction),
    /// There is no rule for incoming ssh.
    NoSsh,
    /// There are rules for DNS over UDP but not over TCP, to which resolvers turn for long answers.
    NoDnsOverTcp {
        /// Of clients of this host.
        incoming: bool,
        /// Of this host.
        outgoing: bool,
    },
    /// There is no rule for this version, but for the other one.
    NoneOver(IpVersion),
    /// Others are let in for so many connections of which nobody knows what came of them.
    UnknownEvidence {
        /// How many.
        connections: usize,
        /// Since when that is recorded, if ever.
        since: Option<SystemTime>,
    },
    /// So many of them are outgoing UDP to an ephemeral port: it may have been answers.
    OutgoingAnswers(usize),
    /// So many connections of others to multicast or broadcast, without a rule: nobody knows whether a
    /// program here listens to them.
    GroupListeners(usize),
    /// UDP ports that this host may have asked by multicast or broadcast, without an answer that was seen.
    /// It comes from another address than the request went to, so netfilter's connection tracking does not
    /// know it.
    GroupRequests(Vec<PortRange>),
    /// Incoming TCP ports that have a rule, and of which nobody can tell whether they were FTP's for data.
    DataBeyondEphemeral(Vec<PortRange>),
    /// Rules hold for these addresses of this host, which will be others some day.
    ChangingAddresses {
        /// They are temporary, or for a time.
        leased: Vec<IpAddr>,
        /// They are in one /64, as temporary ones are.
        of_one_network: Vec<IpAddr>,
    },
    /// So many connections were seen from others and from this host alike: it translates addresses, and the
    /// rules stand where that is not done yet.
    Translated(usize),
    /// The rules refuse, and for every device.
    EveryDevice,
    /// They were recorded on these machines, and each rule holds for the own address of one.
    SeveralMachines(Vec<String>),
}

impl Warning {
    /// Whether it is about certain rules, which name their connections in [`super::doubts`].
    pub const fn is_about_rules(&self) -> bool {
        match self {
            Self::UnknownEvidence { .. }
            | Self::OutgoingAnswers(_)
            | Self::GroupRequests(_)
            | Self::NoDnsOverTcp { .. }
            | Self::ChangingAddresses { .. } => true,
            Self::NoConnection
            | Self::NoneOf(_)
            | Self::NoSsh
            | Self::NoneOver(_)
            | Self::GroupListeners(_)
            | Self::Translated(_)
            | Self::SeveralMachines(_)
            | Self::DataBeyondEphemeral(_)
            | Self::EveryDevice => false,
        }
    }
}

/// What the user has to know about the rules for this choice.
pub(super) fn about(recording: &Recording, choice: &Choice, request: &Request) -> Vec<Warning> {
    let seen = Seen { recording, choice };
    let warnings = [
        seen.nothing(),
        seen.unknown_evidence(),
        seen.one_direction(),
        seen.ssh(),
        seen.dns(),
        seen.one_version(),
        seen.outgoing_answers(),
        seen.group_listeners(),
        seen.group_requests(),
        seen.data_beyond_ephemeral(),
        seen.changing_addresses(request),
        seen.translated(request),
        every_device(request),
        seen.several_machines(request),
    ];
    warnings.into_iter().flatten().collect()
}

struct Seen<'a> {
    recording: &'a Recording,
    choice: &'a Choice<'a>,
}

impl Seen<'_> {
    /// How many records with a rule are like this.
    fn count(&self, condition: impl Fn(&Record) -> bool) -> usize {
        self.choice.chosen.iter().filter(|(_, record)| condition(record)).count()
    }

    fn has_port(&self, direction: Direction, protocol: Protocol, port: u16) -> bool {
        let wanted = (direction, protocol, port);
        let is_wanted =
            |it: &Connection| (it.direction, it.protocol, it.destination_port) == wanted;
        self.count(|record| is_wanted(&record.connection)) > 0
    }

    fn has_chain(&self, base: BaseChain) -> bool {
        self.choice.chains.contains(&base)
    }

    /// To the same place, once from another host and once from this one: masquerading, seen on both sides.
    fn translated(&self, request: &Request) -> Option<Warning> {
        let to = |it: &Connection| (it.protocol, it.destination, it.destination_port);
        let of = |direction| {
            let connections = self.recording.records.iter().map(|record| &record.connection);
            connections.filter(move |it| it.direction == direction)
        };
        let own: BTreeSet<_> = of(Direction::Out).map(to).collect();
        let is_unicast = |it: &&Connection| !matches!(it.destination, Host::Address(address) if may_be_group(address));
        let both =
            of(Direction::Else).filter(is_unicast).filter(|it| own.contains(&to(it))).count();
        (both > 0 && request.standing == Standing::Host).then_some(Warning::Translated(both))
    }

    fn nothing(&self) -> Option<Warning> {
        self.choice.chains.is_empty().then_some(Warning::NoConnection)
    }

    fn unknown_evidence(&self) -> Option<Warning> {
        let lets_in = |base: BaseChain| base != BaseChain::Output;
        let unknown = self.choice.chosen.iter().filter(|(_, it)| it.outcome == Outcome::Unknown);
        let connections = unknown.filter(|(base, _)| lets_in(*base)).count();
        let since = self.recording.provenance.as_ref().and_then(|it| it.since);
        (connections > 0).then_some(Warning::UnknownEvidence { connections, since })
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
        let v6 = self.count(|it| is_v6(it.connection.source) || is_v6(it.connection.destination));
        match (v6, self.choice.chosen.len() - v6) {
            (0, 1..) => Some(Warning::NoneOver(IpVersion::V6)),
            (1.., 0) => Some(Warning::NoneOver(IpVersion::V4)),
            _ => None,
        }
    }

    fn outgoing_answers(&self) -> Option<Warning> {
        let ports = Ports::of(self.recording);
        let count = self.count(|record| {
            let connection = &record.connection;
            record.outcome == Outcome::Unknown
                && (connection.direction, connection.protocol) == (Direction::Out, Protocol::Udp)
                && ports.is_ephemeral(connection.own_address(), connection.destination_port)
        });
        (count > 0).then_some(Warning::OutgoingAnswers(count))
    }

    fn group_listeners(&self) -> Option<Warning> {
        let is_one = |record: &&Record| {
            record.outcome == Outcome::Unknown
                && record.connection.direction == Direction::Else
                && may_be_for_many(record.connection.destination)
        };
        let count = self.recording.records.iter().filter(is_one).count();
        let is_refused = count > 0 && self.has_chain(BaseChain::Input);
        is_refused.then_some(Warning::GroupListeners(count))
    }

    /// Temporary addresses (RFC 8981) come and go within days.
    fn changing_addresses(&self, request: &Request) -> Option<Warning> {
        let own = self.choice.chosen.iter().map(|(_, record)| &record.connection);
        let own = own.filter(|it| it.direction != Direction::Else).filter_map(ends);
        let own: BTreeSet<IpAddr> = own.map(|(local, _)| local).collect();
        let leased: Vec<_> = own.intersection(&request.changing).copied().collect();
        let is_with_others =
            |one: &&IpAddr| own.iter().any(|other| other != *one && is_same_network(**one, *other));
        let of_one_network: Vec<_> = own.iter().filter(is_with_others).copied().collect();
        let is_fine = leased.is_empty() && of_one_network.is_empty();
        let is_warned = !is_fine && !request.any_local_address;
        is_warned.then_some(Warning::ChangingAddresses { leased, of_one_network })
    }

    fn several_machines(&self, request: &Request) -> Option<Warning> {
        let machines: Vec<_> = self.recording.machines().into_iter().collect();
        let is_warned = machines.len() > 1 && !request.any_local_address;
        is_warned.then_some(Warning::SeveralMachines(machines))
    }

    /// Of each version: answers that were seen have a rule, and those of `DHCPv6` always.
    fn group_requests(&self) -> Option<Warning> {
        let requests = GroupRequests::of(self.recording, self.choice);
        let unanswered = requests.iter().filter(|it| it.asked.answered_by.is_empty());
        let ports = unanswered.flat_map(|it| &it.asked.ports).flat_map(|it| it.first..=it.last);
        let ports: BTreeSet<u16> = ports.filter(|port| *port != DHCPV6.server).collect();
        let is_refused = !ports.is_empty() && self.has_chain(BaseChain::Input);
        is_refused.then(|| Warning::GroupRequests(PortRange::all(ports)))
    }

    /// Where a helper lets data through, no port needs a rule for that.
    fn data_beyond_ephemeral(&self) -> Option<Warning> {
        let has_helper = self.choice.helpers.contains(&(Helper::Ftp, BaseChain::Input));
        let ports = beyond_ephemeral(self.recording, &self.choice.chosen);
        let is_needed = has_helper && !ports.is_empty();
        is_needed.then(|| Warning::DataBeyondEphemeral(PortRange::all(ports)))
    }
}

/// Of IPv6, of one /64, which is what a link has.
fn is_same_network(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V6(one), IpAddr::V6(other)) => one.segments()[..4] == other.segments()[..4],
        _ => false,
    }
}

fn may_be_for_many(host: Host) -> bool {
    matches!(host, Host::Address(address) if may_be_group(address))
}

fn every_device(request: &Request) -> Option<Warning> {
    (request.enforce && request.devices.is_empty()).then_some(Warning::EveryDevice)
}
