//! What stands between records and trials: who is sent for each record, and what the outcome says of it.

use std::net::{IpAddr, SocketAddr};

use super::{
    error::AuditError,
    layout::Layout,
    representatives::Representatives,
    ruleset::Ruleset,
    trial::{self, Outcome as Came, Part, Trial},
};
use crate::{
    connection::{Evidence, Host, SourcePort},
    record::{Outcome, Record},
    rules::vocabulary::PortRange,
};

/// A record, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Which.
    pub record: Record,
    /// How.
    pub verdict: Verdict,
}

/// What the kernel made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Accepted,
    /// It does not.
    Refused {
        /// What did not come through.
        part: Part,
        /// With this address in the place of `INTERNET`.
        internet: Option<IpAddr>,
    },
    /// It works, but not for an address of `INTERNET` that the rules name.
    Partly {
        /// What did not come through.
        part: Part,
        /// With this address.
        internet: IpAddr,
    },
    /// It does not come through without rules either.
    NotJudged,
}

/// What trials are made with.
pub(super) struct Bench {
    pub(super) representatives: Representatives,
    pub(super) ephemeral: PortRange,
    pub(super) layout: Layout,
    pub(super) ruleset: Ruleset,
}

impl Bench {
    pub(super) fn judge(
        &self,
        records: &[Record],
    ) -> Result<(Vec<Judgement>, Option<String>), AuditError> {
        let mut trials = Vec::new();
        let mut of_record = Vec::new();
        for record in records {
            let first = trials.len();
            self.add_trials(record, &mut trials);
            of_record.push(first..trials.len());
        }
        let (came, said) = trial::judge(&trials, &self.layout, &self.ruleset)?;
        let judgement = |(record, range): (&Record, std::ops::Range<usize>)| Judgement {
            record: record.clone(),
            verdict: self.verdict(record, &trials[range.clone()], &came[range]),
        };
        Ok((records.iter().zip(of_record).map(judgement).collect(), said))
    }

    /// One for a connection; for one with `INTERNET`, one for each that stands for it.
    fn add_trials(&self, record: &Record, trials: &mut Vec<Trial>) {
        match (record.connection.source, record.connection.destination) {
            (Host::Address(source), Host::Address(destination)) => {
                trials.push(self.trial(record, source, destination, trials.len()));
            }
            (Host::Address(source), Host::Internet) => {
                for destination in self.standing_for(source) {
                    trials.push(self.trial(record, source, *destination, trials.len()));
                }
            }
            (Host::Internet, Host::Address(destination)) => {
                for source in self.standing_for(destination) {
                    trials.push(self.trial(record, *source, destination, trials.len()));
                }
            }
            (Host::Internet, Host::Internet) => {}
        }
    }

    fn trial(&self, record: &Record, source: IpAddr, destination: IpAddr, number: usize) -> Trial {
        let connection = &record.connection;
        let source_port = match connection.source_port {
            SourcePort::Number(port) => port,
            SourcePort::Any => self.ephemeral_port(number),
        };
        Trial {
            protocol: connection.protocol,
            source: SocketAddr::new(source, source_port),
            destination: SocketAddr::new(destination, connection.destination_port),
            way: self.layout.way(connection.direction, source, destination),
            is_answered: !self.layout.is_for_many(destination)
                && record.outcome != Outcome::Seen(Evidence::Served),
        }
    }

    pub(super) fn ephemeral_port(&self, number: usize) -> u16 {
        let PortRange { first, last } = self.ephemeral;
        let offset = number % (usize::from(last - first) + 1);
        first.saturating_add(u16::try_from(offset).unwrap_or_default())
    }

    /// Who stands for `INTERNET` opposite this address; those that rules name come last.
    fn standing_for(&self, opposite: IpAddr) -> impl Iterator<Item = &IpAddr> {
        let representatives = &self.representatives;
        representatives.like(opposite).iter().chain(representatives.named_like(opposite))
    }

    /// Of all that stand for a connection, the first that is refused.
    fn verdict(&self, record: &Record, trials: &[Trial], came: &[Came]) -> Verdict {
        let connection = &record.connection;
        for (trial, came) in trials.iter().zip(came) {
            let Came::Refused(part) = *came else { continue };
            let internet = match (connection.source, connection.destination) {
                (Host::Internet, _) => Some(trial.source.ip()),
                (_, Host::Internet) => Some(trial.destination.ip()),
                _ => None,
            };
            // The others came first, and got through.
            return match internet.filter(|it| self.representatives.is_named(*it)) {
                Some(internet) => Verdict::Partly { part, internet },
                None => Verdict::Refused { part, internet },
            };
        }
        if came.contains(&Came::Accepted) { Verdict::Accepted } else { Verdict::NotJudged }
    }
}
