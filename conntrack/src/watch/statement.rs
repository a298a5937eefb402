//! What the tree's root states about its recording, while a run goes on: above all since when it can be
//! relied on that what has no word of evidence was never answered.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{
    connection::{Evidence, Protocol, Sighting},
    tree::{Obstacle, Provenance},
};

/// What the root states.
#[derive(Clone, Debug)]
pub struct Statement {
    provenance: Provenance,
    /// What was lost before this run.
    lost_before: Option<u64>,
    clock: fn() -> SystemTime,
    file: Option<File>,
}

/// A capture file that is read.
#[derive(Clone, Copy, Debug)]
struct File {
    /// Since when there is evidence in the tree, should there be any in this file.
    since: Option<SystemTime>,
    /// Whether there is.
    is_answered: bool,
}

/// What the tree held before this run.
#[derive(Clone, Debug)]
pub struct Before {
    /// What its root stated.
    pub provenance: Option<Provenance>,
    /// Whether there was no connection in it.
    pub is_empty: bool,
}

impl Before {
    fn since(&self) -> Option<SystemTime> {
        self.provenance.as_ref()?.since
    }
}

impl Statement {
    /// About a run that watches a device, from now on.
    pub fn on_device(run: Provenance, before: &Before, clock: fn() -> SystemTime) -> Self {
        let now = clock();
        let since = before.since().map_or(now, |since| since.min(now));
        Self::new(Provenance { since: Some(since), ..run }, before, clock, None)
    }

    /// About a run that reads a capture file. A file in which nobody answers may have been filtered;
    /// so it is stated at the end.
    pub fn on_file(run: Provenance, before: &Before, clock: fn() -> SystemTime) -> Self {
        let since = if before.is_empty { Some(UNIX_EPOCH) } else { before.since() };
        let file = File { since, is_answered: false };
        Self::new(Provenance { since: None, ..run }, before, clock, Some(file))
    }

    fn new(
        run: Provenance,
        before: &Before,
        clock: fn() -> SystemTime,
        file: Option<File>,
    ) -> Self {
        let lost_before = before.provenance.as_ref().map_or(Some(0), |it| it.lost);
        let provenance = Provenance { lost: lost_before, ..run };
        Self { provenance, lost_before, clock, file }
    }

    /// Takes in a batch before it is shown.
    pub fn see(&mut self, sightings: &[Sighting]) {
        if let Some(file) = &mut self.file {
            file.is_answered |= sightings.iter().any(is_answered_tcp);
        }
    }

    /// Takes in what was lost in this run up to now, and what evidence could not be kept in a batch.
    pub fn update(&mut self, lost: Option<u64>, unkept: &Obstacle) {
        let all = self.lost_before.zip(lost);
        self.provenance.lost = all.map(|(before, lost)| before.saturating_add(lost));
        let is_missing = unkept.first_error.is_some();
        match &mut self.file {
            Some(file) if is_missing => file.since = None,
            // What is answered meanwhile looks as if it were not.
            None if is_missing => self.provenance.since = None,
            None if self.provenance.since.is_none() && unkept.is_over => {
                self.provenance.since = Some((self.clock)());
            }
            _ => {}
        }
    }

    /// There is no more to take in.
    pub const fn conclude(&mut self) {
        if let Some(File { since, is_answered: true }) = self.file {
            self.provenance.since = since;
        }
    }

    /// What the root is to state now.
    pub const fn provenance(&self) -> &Provenance {
        &self.provenance
    }
}

fn is_answered_tcp(sighting: &Sighting) -> bool {
    let is_tcp = sighting.connection.protocol == Protocol::Tcp;
    is_tcp && sighting.evidence == Some(Evidence::Answered)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        connection::{Connection, Direction, Host, SourcePort},
        tree::TreeError,
    };

    fn now() -> SystemTime {
        at(1_000)
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn before(since: Option<SystemTime>) -> Before {
        let lost = Some(7);
        let provenance = Some(Provenance { since, lost, ..Provenance::default() });
        Before { provenance, is_empty: false }
    }

    const EMPTY: Before = Before { provenance: None, is_empty: true };
    const OLD: Before = Before { provenance: None, is_empty: false };

    fn unkept() -> Obstacle {
        let error = TreeError::NoTree { root: "/tree".into(), below: Vec::new() };
        Obstacle { connections: 1, first_error: Some(error), is_over: false }
    }

    fn kept() -> Obstacle {
        Obstacle { is_over: true, ..Obstacle::default() }
    }

    fn answered(protocol: Protocol) -> Sighting {
        let connection = Connection {
            direction: Direction::In,
            protocol,
            source: Host::Internet,
            source_port: SourcePort::Any,
            destination: Host::Internet,
            destination_port: 53,
        };
        Sighting { evidence: Some(Evidence::Answered), ..Sighting::opened(connection) }
    }

    #[test]
    fn a_device_is_recorded_with_evidence_since_its_first_run_that_was() {
        for (before, since) in [
            (EMPTY, Some(at(1_000))),
            (OLD, Some(at(1_000))),
            (before(Some(at(500))), Some(at(500))),
            (before(None), Some(at(1_000))),
            // Somebody's clock was ahead.
            (before(Some(at(2_000))), Some(at(1_000))),
        ] {
            let statement = Statement::on_device(Provenance::default(), &before, now);
            assert_eq!(statement.provenance().since, since, "{before:?}");
        }
    }

    #[test]
    fn evidence_that_cannot_be_kept_is_missing_until_it_is_kept_again() {
        let mut statement =
            Statement::on_device(Provenance::default(), &before(Some(at(500))), now);
        for (unkept, since) in [
            (Obstacle::default(), Some(at(500))),
            (unkept(), None),
            (Obstacle::default(), None),
            (kept(), Some(at(1_000))),
        ] {
            statement.update(Some(0), &unkept);
            assert_eq!(statement.provenance().since, since);
        }
    }

    #[test]
    fn what_is_lost_adds_up_over_runs() {
        let mut statement =
            Statement::on_device(Provenance::default(), &before(Some(at(500))), now);
        assert_eq!(statement.provenance().lost, Some(7));
        statement.update(Some(3), &Obstacle::default());
        statement.update(Some(5), &Obstacle::default());
        assert_eq!(statement.provenance().lost, Some(12));
        let statement = Statement::on_device(Provenance::default(), &OLD, now);
        assert_eq!(statement.provenance().lost, Some(0));
    }

    #[test]
    fn a_file_in_which_no_tcp_connection_is_answered_tells_nothing() {
        for (before, since) in
            [(EMPTY, Some(at(0))), (OLD, None), (before(Some(at(500))), Some(at(500)))]
        {
            for (sightings, obstacle, since) in [
                (vec![], kept(), None),
                (vec![answered(Protocol::Udp)], kept(), None),
                (vec![answered(Protocol::Tcp)], kept(), since),
                (vec![answered(Protocol::Tcp)], unkept(), None),
            ] {
                let mut statement = Statement::on_file(Provenance::default(), &before, now);
                statement.see(&sightings);
                statement.update(Some(0), &obstacle);
                assert_eq!(statement.provenance().since, None, "it may be cut short");
                statement.conclude();
                assert_eq!(statement.provenance().since, since, "{before:?} {sightings:?}");
            }
        }
    }
}
