//! Which records that have a rule are doubtful, and why.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    answers::may_ask_many,
    doubts::{Doubt, Doubts, Named},
    ephemeral::Ports,
    grouping::ends,
    vocabulary::BaseChain,
    warnings::{DNS, Warning},
};
use crate::{
    connection::{Connection, Direction, Evidence, Protocol},
    record::{Outcome, Record},
    recording::Recording,
};

/// What raises doubts, from the warnings about all rules.
pub(super) struct Doubtful {
    ports: Ports,
    /// That would be others some day.
    changing: BTreeSet<IpAddr>,
    /// Of requests to many.
    unanswered: BTreeSet<u16>,
    /// Directions of DNS without TCP.
    dns: BTreeSet<Direction>,
}

impl Doubtful {
    pub(super) fn of(recording: &Recording, warnings: &[Warning]) -> Self {
        let mut doubtful = Self {
            ports: Ports::of(recording),
            changing: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            dns: BTreeSet::new(),
        };
        for warning in warnings {
            doubtful.take(warning);
        }
        doubtful
    }

    fn take(&mut self, warning: &Warning) {
        match warning {
            Warning::ChangingAddresses { leased, of_one_network } => {
                self.changing.extend(leased.iter().chain(of_one_network));
            }
            Warning::GroupRequests(ports) => {
                self.unanswered.extend(ports.iter().flat_map(|it| it.first..=it.last));
            }
            Warning::NoDnsOverTcp { incoming, outgoing } => {
                self.dns.extend(incoming.then_some(Direction::In));
                self.dns.extend(outgoing.then_some(Direction::Out));
            }
            _ => {}
        }
    }

    /// Those about a record with a rule in this chain.
    pub(super) fn about(&self, base: BaseChain, record: &Record) -> Doubts {
        let connection = record.connection;
        let Connection { direction, protocol, destination_port: port, .. } = connection;
        let is_unknown = record.outcome == Outcome::Unknown;
        let is_udp = protocol == Protocol::Udp;
        let is_out_udp = is_udp && direction == Direction::Out;
        let own = ends(&connection).map(|(own, _)| own);
        let is_ephemeral = self.ports.is_ephemeral(connection.own_address(), port);
        let is_answered = record.outcome == Outcome::Seen(Evidence::Answered);
        let is_own = direction != Direction::Else;
        let all = [
            (Doubt::UnknownEvidence, is_unknown && base != BaseChain::Output),
            (Doubt::MayBeAnswer, is_unknown && is_out_udp && is_ephemeral),
            (
                Doubt::UnansweredRequest,
                is_out_udp && self.unanswered.contains(&port) && may_ask_many(&connection),
            ),
            (Doubt::NoDnsOverTcp, is_udp && port == DNS && self.dns.contains(&direction)),
            (Doubt::ChangingAddress, is_own && own.is_some_and(|own| self.changing.contains(&own))),
            (Doubt::EphemeralPort, is_answered && is_ephemeral && direction == Direction::In),
        ];
        let doubts = all.into_iter().filter(|(_, is_so)| *is_so);
        doubts.map(|(doubt, _)| (doubt, Named::one(connection))).collect()
    }
}
