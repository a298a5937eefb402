//! What is said at the end and on SIGUSR1: one line each of what was seen, made and lost.

use std::fmt;

use conntrack_common::{
    counters::{Loss, Outcome},
    wire::Skip,
};

use crate::{connection::ByDirection, source::SourceCounters, tree::Cause};

/// Everything that was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// By the source.
    pub source: SourceCounters,
    /// Flows that the rules recorded, each counted once per interval in which it was seen.
    pub flows: u64,
    /// Files that were not there before.
    pub files: ByDirection,
    /// Connections that are visible, each counted once per interval in which it was seen.
    pub connections: ByDirection,
    /// Connections, each counted once per interval, that are not visible, by [`Cause`].
    pub not_shown: [u64; Cause::ALL.len()],
}

impl Stats {
    /// Packets that could not be read as far as their ports, by cause.
    fn malformed(&self) -> Causes {
        let causes =
            Skip::UNREADABLE.map(|skip| (skip.as_str(), self.packets(Outcome::Skipped(skip))));
        Causes(causes.to_vec())
    }

    /// What could have been in the tree and is not, by cause.
    pub fn lost(&self) -> Causes {
        let kept_out = Loss::ALL.map(|loss| (loss.as_str(), self.packets(Outcome::Lost(loss))));
        let mut causes = kept_out.to_vec();
        causes.push(("libpcap's buffer full", self.source.dropped));
        causes.extend(Cause::ALL.map(|cause| (cause.as_str(), self.not_shown[cause as usize])));
        Causes(causes)
    }

    fn packets(&self, outcome: Outcome) -> u64 {
        self.source.packets.get(outcome)
    }
}

/// The report, five lines.
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "packets seen: {}", self.source.packets.packets())?;
        writeln!(f, "flows recorded: {}", self.flows)?;
        writeln!(f, "files made: {}", self.files.total())?;
        writeln!(f, "malformed: {}", self.malformed())?;
        write!(f, "lost: {}", self.lost())
    }
}

/// Numbers by cause; shown as their sum and, in parentheses, those that are not 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Causes(Vec<(&'static str, u64)>);

impl Causes {
    /// Over all causes.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, number)| number).sum()
    }
}

impl fmt::Display for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.total())?;
        let named = self.0.iter().filter(|(_, number)| *number > 0);
        let named: Vec<_> = named.map(|(cause, number)| format!("{cause}: {number}")).collect();
        if named.is_empty() { Ok(()) } else { write!(f, " ({})", named.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Direction;

    #[test]
    fn causes_are_named_where_there_is_something_to_name() {
        let mut stats = Stats { flows: 2, not_shown: [3, 0, 5, 0], ..Stats::default() };
        stats.files.count(Direction::Out);
        stats.source.dropped = 4;
        stats.source.packets.count(Outcome::Flow);
        stats.source.packets.count(Outcome::Skipped(Skip::NotIp));
        stats.source.packets.count(Outcome::Skipped(Skip::Truncated));
        assert_eq!(
            stats.to_string(),
            "packets seen: 3\n\
             flows recorded: 2\n\
             files made: 1\n\
             malformed: 1 (truncated: 1)\n\
             lost: 12 (libpcap's buffer full: 4, file could not be made: 3, \
             else file held back by --max-files: 5)"
        );
    }
}
