//! Choosing: which records have a rule, by what came of them, and which have none, for which reason.

use std::collections::BTreeSet;

use super::{
    data::{Control, Helper},
    ephemeral::Ports,
    grouping::ends,
    internet::is_group,
    omissions::{self, Omission, Reason},
    vocabulary::{BaseChain, Request},
};
use crate::{
    connection::{Connection, Direction, Evidence, Host, Protocol, SourcePort},
    record::{Outcome, Record},
    recording::Recording,
};

/// Records, sorted by whether they have a rule.
#[derive(Clone, Debug)]
pub(crate) struct Choice<'a> {
    /// Those that have one, and in which chain.
    pub(crate) chosen: Vec<(BaseChain, &'a Record)>,
    /// The others.
    pub(crate) omissions: Vec<Omission>,
    /// The chains that there are: those that would have had a rule for a record of either kind.
    pub(crate) chains: BTreeSet<BaseChain>,
    /// Helpers that let data connections through, and in which chains.
    pub(crate) helpers: BTreeSet<(Helper, BaseChain)>,
}

/// Sorts the records of a recording.
pub(crate) fn choose<'a>(recording: &'a Recording, request: &Request) -> Choice<'a> {
    let criteria = Criteria::of(recording, request);
    let mut chosen = Vec::new();
    let mut omitted = Vec::new();
    let mut chains = BTreeSet::new();
    for record in &recording.records {
        match criteria.chain(record) {
            Ok(chain) => {
                chosen.push((chain, record));
                chains.insert(chain);
            }
            Err(reason) => {
                omitted.push((reason, record));
                chains.extend(judged_in(record, reason));
            }
        }
    }
    let helpers = if request.no_helpers {
        BTreeSet::new()
    } else {
        leave_data(recording, &mut chosen, &mut omitted)
    };
    Choice { chosen, omissions: omissions::fold(&omitted), chains, helpers }
}

/// Takes out what helpers let through; which they are. A port that others use too is that of a server.
fn leave_data<'a>(
    recording: &Recording,
    chosen: &mut Vec<(BaseChain, &'a Record)>,
    omitted: &mut Vec<(Reason, &'a Record)>,
) -> BTreeSet<(Helper, BaseChain)> {
    let control = Control::of(recording, chosen);
    let port = |record: &Record| {
        let connection = &record.connection;
        let service = (connection.direction, connection.protocol, connection.destination_port);
        (service, ends(connection).map(|(local, _)| local))
    };
    let of_others = chosen.iter().filter(|(_, it)| control.has_data(&it.connection).is_none());
    let of_others: BTreeSet<_> = of_others.map(|(_, record)| port(record)).collect();
    let helper = |record: &Record| {
        let is_of_server =
            record.connection.direction == Direction::In && of_others.contains(&port(record));
        control.has_data(&record.connection).filter(|_| !is_of_server)
    };
    chosen.retain(|(_, record)| match helper(record) {
        Some(helper) => {
            omitted.push((Reason::Data(helper), *record));
            false
        }
        None => true,
    });
    for (reason, record) in omitted.iter_mut().filter(|(it, _)| matches!(it, Reason::Ephemeral(_)))
    {
        if let Some(helper) = helper(record) {
            *reason = Reason::Data(helper);
        }
    }
    control.helpers
}

/// The chain that a record has no rule in. Without a chain, what nobody answered would be let in.
const fn judged_in(record: &Record, reason: Reason) -> Option<BaseChain> {
    match (record.connection.direction, reason) {
        (Direction::In, _) => Some(BaseChain::Input),
        (Direction::Out, _) => Some(BaseChain::Output),
        (Direction::Else, Reason::Else | Reason::Group(_)) => None,
        (Direction::Else, _) => Some(BaseChain::Forward),
    }
}

struct Criteria {
    forward: bool,
    unanswered: bool,
    ports: Ports,
    /// UDP ports of servers, told now.
    udp_servers: BTreeSet<u16>,
    /// What passes through this host over UDP, to recognize answers without evidence.
    forwarded: BTreeSet<Connection>,
}

impl Criteria {
    fn of(recording: &Recording, request: &Request) -> Self {
        let is_forwarded = |it: &&Connection| {
            (it.direction, it.protocol) == (Direction::Else, Protocol::Udp) && !is_to_group(it)
        };
        let connections = recording.records.iter().map(|record| &record.connection);
        Self {
            forward: request.forward,
            unanswered: request.unanswered,
            ports: Ports::of(recording),
            udp_servers: request.udp_in.clone(),
            forwarded: connections.filter(is_forwarded).copied().collect(),
        }
    }

    /// The chain that has the rule, or why there is none.
    fn chain(&self, record: &Record) -> Result<BaseChain, Reason> {
        if let Some(chain) = self.accepted_in(record) {
            return Ok(chain);
        }
        match record.connection.direction {
            Direction::In => self.input(record),
            Direction::Out => output(record),
            Direction::Else => self.forward(record),
        }
    }

    /// The chain of what a person wants to have a rule.
    fn accepted_in(&self, record: &Record) -> Option<BaseChain> {
        let chain = match record.connection.direction {
            Direction::In => BaseChain::Input,
            Direction::Out => BaseChain::Output,
            Direction::Else if is_to_group(&record.connection) => BaseChain::Input,
            Direction::Else if self.forward => BaseChain::Forward,
            Direction::Else => return None,
        };
        record.accepted.then_some(chain)
    }

    /// A late answer looks like a request, so a server with an ephemeral UDP port has to be named.
    fn input(&self, record: &Record) -> Result<BaseChain, Reason> {
        let port = record.connection.destination_port;
        let own = record.connection.own_address();
        let may_be_late_answer = record.connection.protocol == Protocol::Udp
            && self.ports.is_ephemeral(own, port)
            && !self.ports.is_of_server(own, port)
            && !self.udp_servers.contains(&port);
        match record.outcome {
            Outcome::Seen(Evidence::Reply) => Err(Reason::Reply),
            outcome if may_be_late_answer => Err(Reason::Ephemeral(outcome)),
            outcome => self.by_evidence(outcome, BaseChain::Input),
        }
    }

    /// What is in `else` passes through this host, or arrives because it is for many.
    fn forward(&self, record: &Record) -> Result<BaseChain, Reason> {
        let connection = &record.connection;
        match record.outcome {
            Outcome::Seen(Evidence::Served) if connection.protocol == Protocol::Udp => {
                Ok(BaseChain::Input)
            }
            outcome if is_to_group(connection) => Err(Reason::Group(outcome)),
            _ if !self.forward => Err(Reason::Else),
            Outcome::Unknown if self.is_answer(connection) => Err(Reason::Answer),
            outcome => self.by_evidence(outcome, BaseChain::Forward),
        }
    }

    fn by_evidence(&self, outcome: Outcome, chain: BaseChain) -> Result<BaseChain, Reason> {
        match outcome {
            Outcome::Unknown | Outcome::Seen(Evidence::Answered | Evidence::Served) => Ok(chain),
            Outcome::Seen(Evidence::Reply) => Err(Reason::Reply),
            Outcome::None | Outcome::Seen(Evidence::Refused) if self.unanswered => Ok(chain),
            Outcome::Seen(Evidence::Refused) => Err(Reason::Refused),
            Outcome::None => Err(Reason::Unanswered),
        }
    }

    /// Whether the request that this would answer was recorded, too.
    fn is_answer(&self, connection: &Connection) -> bool {
        let request = reversed(connection).filter(|_| connection.protocol == Protocol::Udp);
        request.is_some_and(|request| {
            request.destination_port < connection.destination_port
                && self.forwarded.contains(&request)
        })
    }
}

/// What this host sends does not open it to anybody.
const fn output(record: &Record) -> Result<BaseChain, Reason> {
    match record.outcome {
        Outcome::Seen(Evidence::Reply) => Err(Reason::Reply),
        _ => Ok(BaseChain::Output),
    }
}

/// Whether a connection is for many hosts at once, as far as its address tells.
pub(super) fn is_to_group(connection: &Connection) -> bool {
    matches!(connection.destination, Host::Address(address) if is_group(address))
}

fn reversed(connection: &Connection) -> Option<Connection> {
    let SourcePort::Number(destination_port) = connection.source_port else { return None };
    Some(Connection {
        source: connection.destination,
        source_port: SourcePort::Number(connection.destination_port),
        destination: connection.source,
        destination_port,
        ..*connection
    })
}
