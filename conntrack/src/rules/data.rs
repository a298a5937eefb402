//! Data connections: FTP and TFTP agree on ports as they go, which netfilter's helpers read out of the
//! control connection. So what they agreed on while it was recorded needs no rule.

use std::collections::BTreeSet;

use super::{ephemeral::Ports, grouping::ends, vocabulary::BaseChain};
use crate::{
    connection::{Connection, Direction, Host, Protocol},
    record::Record,
    recording::Recording,
};

/// A helper of netfilter's connection tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Helper {
    /// For FTP (RFC 959), as far as its control connection is not encrypted.
    Ftp,
    /// For TFTP (RFC 1350).
    Tftp,
}

impl Helper {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Ftp, Self::Tftp];

    /// What netfilter calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ftp => "ftp",
            Self::Tftp => "tftp",
        }
    }

    /// What its control connections are for.
    pub const fn control(self) -> (Protocol, u16) {
        match self {
            Self::Ftp => (Protocol::Tcp, 21),
            Self::Tftp => (Protocol::Udp, 69),
        }
    }

    fn controls(self, connection: &Connection) -> bool {
        (connection.protocol, connection.destination_port) == self.control()
    }
}

/// The first one that is no system port (RFC 6335, section 6).
const FIRST_USER_PORT: u16 = 1_024;

/// This host and the other end, or with `else` both ends in order of their addresses.
type Pair = (Host, Host);

/// The control connections that have a rule, and between whom.
pub(super) struct Control {
    /// In which chains.
    pub(super) helpers: BTreeSet<(Helper, BaseChain)>,
    pairs: BTreeSet<(Helper, Pair)>,
    ports: Ports,
}

impl Control {
    /// Those among the chosen records.
    pub(super) fn of(recording: &Recording, chosen: &[(BaseChain, &Record)]) -> Self {
        let controls = chosen.iter().filter_map(|(base, record)| {
            let connection = &record.connection;
            let helper = Helper::ALL.into_iter().find(|helper| helper.controls(connection));
            Some((helper?, *base, pair(connection)))
        });
        let controls: Vec<_> = controls.collect();
        Self {
            helpers: controls.iter().map(|(helper, base, _)| (*helper, *base)).collect(),
            pairs: controls.iter().map(|(helper, _, pair)| (*helper, *pair)).collect(),
            ports: Ports::of(recording),
        }
    }

    /// The helper that this may be a data connection of: between the same hosts, to an ephemeral port.
    pub(super) fn has_data(&self, connection: &Connection) -> Option<Helper> {
        let port = connection.destination_port;
        let is_ephemeral = self.ports.is_ephemeral(connection.own_address(), port);
        self.between_same_hosts(connection).filter(|_| is_ephemeral)
    }

    /// The helper whose control connections are between the same hosts.
    fn between_same_hosts(&self, connection: &Connection) -> Option<Helper> {
        let pair = pair(connection);
        let is_its = |helper: &Helper| {
            helper.control().0 == connection.protocol && self.pairs.contains(&(*helper, pair))
        };
        Helper::ALL.into_iter().find(is_its)
    }
}

/// TCP ports of this host that have a rule and may be FTP's for data, or of a service: they are not ephemeral,
/// and nobody uses them who does not use FTP, too. vsftpd takes any from 1024 on unless told otherwise.
pub(super) fn beyond_ephemeral(
    recording: &Recording,
    chosen: &[(BaseChain, &Record)],
) -> BTreeSet<u16> {
    let control = Control::of(recording, chosen);
    let connections = chosen.iter().map(|(_, record)| &record.connection);
    let come_in = connections.filter(|it| {
        let is_user = it.destination_port >= FIRST_USER_PORT;
        it.direction == Direction::In && it.protocol == Protocol::Tcp && is_user
    });
    let (may_be, are_of_others): (Vec<_>, Vec<_>) =
        come_in.partition(|it| control.between_same_hosts(it).is_some());
    let port = |it: &Connection| (it.destination, it.destination_port);
    let of_others: BTreeSet<_> = are_of_others.into_iter().map(port).collect();
    let ports = may_be.into_iter().map(port).filter(|it| !of_others.contains(it));
    ports.map(|(_, port)| port).collect()
}

fn pair(connection: &Connection) -> Pair {
    let Connection { direction, source, destination, .. } = *connection;
    match (direction, ends(connection)) {
        (Direction::In | Direction::Out, Some((local, peer))) => (Host::Address(local), peer),
        _ => (source.min(destination), source.max(destination)),
    }
}
