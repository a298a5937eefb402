//! Sorts the records of a recording into the parts that a page has. Each record is in exactly one.

use std::collections::HashSet;

use super::{
    groups::{Asked, Group, fold},
    scans::{self, Scan},
    tally::Tally,
};
use crate::{
    connection::{Connection, Direction, Evidence, Protocol},
    record::{Outcome, Record},
    recording::Recording,
    rules::{ephemeral::ephemeral_ports, vocabulary::PortRange},
};

/// The parts.
pub(super) struct Parts<'a> {
    /// What this machine serves, by port and address.
    pub(super) services: Vec<Group>,
    /// What it uses, by port.
    pub(super) uses: Vec<Group>,
    /// What others do among each other, by port and address.
    pub(super) others: Vec<Group>,
    pub(super) scans: Vec<Scan>,
    /// What arrived for no service.
    pub(super) tries: Vec<Group>,
    /// The records of services, of what is used and of tries: what a figure shows.
    pub(super) shown: Vec<&'a Record>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(recording: &'a Recording) -> Self {
        let (scans, rest) = scans::part(&recording.records);
        let of = |direction| {
            let of = rest.iter().filter(move |it| it.connection.direction == direction);
            of.copied().collect::<Vec<_>>()
        };
        let [arrived, left, others] = [Direction::In, Direction::Out, Direction::Else].map(of);
        let criteria = Criteria::of(recording);
        let served: HashSet<_> = arrived
            .iter()
            .filter(|it| criteria.tells_service(it))
            .map(|it| Asked::there(&it.connection))
            .collect();
        let (services, tries): (Vec<_>, Vec<_>) =
            arrived.iter().partition(|it| served.contains(&Asked::there(&it.connection)));
        let source = |it: &Connection| it.source;
        Self {
            services: fold(&services, Asked::there, source),
            uses: fold(&left, Asked::anywhere, |it| it.destination),
            others: fold(&others, Asked::there, source),
            tries: fold(&tries, Asked::there, source),
            scans,
            shown: arrived.into_iter().chain(left).collect(),
        }
    }
}

/// How many connections are in groups.
pub(super) fn total(groups: &[Group]) -> usize {
    groups.iter().map(|it| it.sum.total()).sum()
}

/// How many connections are in scans.
pub(super) fn total_of_scans(scans: &[Scan]) -> usize {
    scans.iter().map(|it| it.sum.total()).sum()
}

/// The tally of groups, if there are any.
pub(super) fn tally(groups: &[Group]) -> Option<Tally> {
    Tally::sum(groups.iter().map(|it| it.sum.clone()))
}

struct Criteria<'a> {
    ephemeral: PortRange,
    /// UDP ports of servers, told when it was recorded.
    udp_servers: &'a [u16],
}

impl<'a> Criteria<'a> {
    fn of(recording: &'a Recording) -> Self {
        let udp_servers = recording.provenance.as_ref().map_or(&[][..], |it| &it.udp_in);
        Self { ephemeral: ephemeral_ports(recording), udp_servers }
    }

    /// Whether there is a service, as far as this record tells. Where nothing is known, UDP to an ephemeral
    /// port is rather a late answer.
    fn tells_service(&self, record: &Record) -> bool {
        let Connection { protocol, destination_port: port, .. } = record.connection;
        let may_be_late_answer = protocol == Protocol::Udp
            && self.ephemeral.contains(port)
            && !self.udp_servers.contains(&port);
        match record.outcome {
            Outcome::Seen(Evidence::Answered | Evidence::Served) => true,
            Outcome::Unknown => !may_be_late_answer,
            Outcome::None | Outcome::Seen(Evidence::Refused | Evidence::Reply) => false,
        }
    }
}
