//! What is said at the end and on SIGUSR1: one line each of what was seen, left out, made and lost.

use std::fmt;

use conntrack_common::{
    counters::{Loss, Outcome},
    wire::Skip,
};
use log::Level;

use crate::{
    connection::{ByDirection, Direction},
    source::{DeviceCounters, SourceCounters, unread::EtherType},
    tree::{Cause, direction_directory},
};

/// Everything that was counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// By the source.
    pub source: SourceCounters,
    /// By the source, for each device; none where there is one.
    pub devices: Vec<DeviceCounters>,
    /// Flows that the rules recorded, each counted once per interval in which it was seen.
    pub flows: u64,
    /// Files that were not there before.
    pub files: ByDirection,
    /// Connections that are visible, each counted once per interval in which it was seen.
    pub connections: ByDirection,
    /// Connections, each counted once per interval, that are not visible, by [`Cause`].
    pub not_shown: [u64; Cause::ALL.len()],
    /// Connections, each counted once per interval, that are visible without what came of them.
    pub evidence_unkept: u64,
}

impl Stats {
    /// Valid packets that are not flows, by cause.
    fn skipped(&self) -> Causes {
        let skips = Skip::ALL.into_iter().filter(|skip| !Skip::UNREADABLE.contains(skip));
        Causes(skips.map(|skip| (skip.as_str(), self.packets(Outcome::Skipped(skip)))).collect())
    }

    /// Packets that could not be parsed up to their ports, by cause.
    fn malformed(&self) -> Causes {
        let causes =
            Skip::UNREADABLE.map(|skip| (skip.as_str(), self.packets(Outcome::Skipped(skip))));
        Causes(causes.to_vec())
    }

    /// What could have been in the tree and is not, by cause.
    pub fn lost(&self) -> Causes {
        let kept_out = Loss::ALL.map(|loss| (loss.as_str(), self.packets(Outcome::Lost(loss))));
        let mut causes = kept_out.to_vec();
        causes.push(("libpcap's buffer full", Some(self.source.dropped)));
        let not_shown = |cause| self.not_shown[cause as usize];
        causes.extend(Cause::ALL.map(|cause| (cause.as_str(), Some(not_shown(cause)))));
        Causes(causes)
    }

    /// The report, line by line: six, and one more if nearly all packets are of an unsupported type; with
    /// `in_detail` one where there are such types, and one where there are several devices.
    pub fn lines(&self, in_detail: bool) -> Vec<(Level, String)> {
        let packets = self.packets_seen();
        let unread = self.nearly_all().map(|(kind, frames)| {
            (Level::Warn, format!("not read: {frames} of {packets} packets are {kind}"))
        });
        let mut lines = vec![
            (Level::Info, format!("packets seen: {packets}")),
            (Level::Info, format!("skipped: {}", self.skipped())),
        ];
        lines.extend(unread);
        lines.extend([
            (Level::Info, format!("flows recorded: {}", self.flows)),
            (Level::Info, format!("files made: {}", self.made())),
            (Level::Info, format!("malformed: {}", self.malformed())),
            self.lost_line(),
        ]);
        if in_detail && !self.devices.is_empty() {
            lines.push((Level::Info, format!("packets by device: {}", self.by_device())));
        }
        if in_detail && !self.source.unread.is_empty() {
            lines.push((Level::Info, format!("not IP: {}", self.source.unread)));
        }
        lines
    }

    /// What was lost, which is a warning if it is something.
    pub fn lost_line(&self) -> (Level, String) {
        let lost = self.lost();
        let is_nothing = lost.total() == Count(Some(0));
        (if is_nothing { Level::Info } else { Level::Warn }, format!("lost: {lost}"))
    }

    /// Packets by device, each with its number also where that is 0.
    fn by_device(&self) -> String {
        let of = |it: &DeviceCounters| format!("{}: {}", it.device, Count(it.packets));
        self.devices.iter().map(of).collect::<Vec<_>>().join(", ")
    }

    /// Files by direction.
    fn made(&self) -> Causes {
        let made = |direction| (direction_directory(direction), Some(self.files.get(direction)));
        Causes(Direction::ALL.map(made).to_vec())
    }

    /// The unsupported `EtherType` of nearly all packets, if there is one.
    fn nearly_all(&self) -> Option<(EtherType, u64)> {
        let most = self.source.unread.most();
        let (ether_type, frames) = most.filter(|(kind, _)| !kind.is_control())?;
        let packets = self.source.packets?.packets();
        let is_nearly_all = u128::from(frames) * 10 >= u128::from(packets) * 9;
        is_nearly_all.then_some((ether_type, frames))
    }

    fn packets(&self, outcome: Outcome) -> Option<u64> {
        self.source.with_outcome(outcome)
    }

    /// Packets that the source has looked at, if that is known.
    pub fn packets_seen(&self) -> Count {
        Count(self.source.packets.map(|packets| packets.packets()))
    }
}

/// Numbers by cause; shown as their sum and, in parentheses, those that are not 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Causes(Vec<(&'static str, Option<u64>)>);

impl Causes {
    /// Over all causes; unknown if one of them is.
    pub fn total(&self) -> Count {
        Count(self.0.iter().map(|(_, number)| *number).sum())
    }
}

/// A number that may be unknown, and is no 0 then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub Option<u64>);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.total())?;
        let named = self.0.iter().filter_map(|(cause, number)| {
            let number = number.filter(|number| *number > 0)?;
            Some(format!("{cause}: {number}"))
        });
        let named: Vec<_> = named.collect();
        if named.is_empty() { Ok(()) } else { write!(f, " ({})", named.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use conntrack_common::counters::Counters;

    use super::*;

    fn report(stats: &Stats, in_detail: bool) -> String {
        let lines: Vec<_> = stats.lines(in_detail).into_iter().map(|(_, line)| line).collect();
        lines.join("\n")
    }

    fn packets(stats: &mut Stats) -> &mut Counters {
        stats.source.packets.get_or_insert_default()
    }

    #[test]
    fn what_is_unknown_is_not_0() {
        let mut stats = Stats::default();
        stats.source.packets = None;
        stats.source.dropped = 4;
        let report = report(&stats, false);
        assert!(report.starts_with("packets seen: unknown\nskipped: unknown\n"), "{report}");
        assert!(report.ends_with("lost: unknown (libpcap's buffer full: 4)"), "{report}");
    }

    #[test]
    fn causes_are_named_where_there_is_something_to_name() {
        let mut stats = Stats { flows: 2, not_shown: [3, 0, 5, 0, 0, 0, 0, 0], ..Stats::default() };
        stats.files.count(Direction::Out);
        stats.source.dropped = 4;
        packets(&mut stats).count(Outcome::Flow);
        packets(&mut stats).count(Outcome::Skipped(Skip::NotIp));
        packets(&mut stats).count(Outcome::Skipped(Skip::Truncated));
        assert_eq!(
            report(&stats, false),
            "packets seen: 3\n\
             skipped: 1 (not IP: 1)\n\
             flows recorded: 2\n\
             files made: 1 (out: 1)\n\
             malformed: 1 (truncated: 1)\n\
             lost: 12 (libpcap's buffer full: 4, file could not be made: 3, \
             else file held back by --max-files: 5)"
        );
    }

    #[test]
    fn an_unsupported_type_of_nearly_all_packets_is_named() {
        const MACSEC: EtherType = EtherType(0x88e5);
        let of = |others: usize| {
            let mut stats = Stats::default();
            for _ in 0..9 {
                packets(&mut stats).count(Outcome::Skipped(Skip::NotIp));
            }
            stats.source.unread.count(MACSEC, 9);
            for _ in 0..others {
                packets(&mut stats).count(Outcome::Flow);
            }
            report(&stats, false)
        };
        let line = "not read: 9 of 10 packets are MACsec (EtherType 0x88e5)";
        assert!(of(1).lines().any(|it| it == line), "{}", of(1));
        assert!(!of(2).contains("not read"), "{}", of(2));
        assert!(!report(&Stats::default(), false).contains("not read"));
    }

    #[test]
    fn packets_of_several_devices_are_told_in_detail() {
        let of = |device: &str, packets| DeviceCounters { device: device.to_owned(), packets };
        let devices = vec![of("eth0", Some(7)), of("wg0", Some(0)), of("wg1", None)];
        let stats = Stats { devices, ..Stats::default() };
        let line = "packets by device: eth0: 7, wg0: 0, wg1: unknown";
        assert!(report(&stats, true).lines().any(|it| it == line), "{}", report(&stats, true));
        assert!(!report(&stats, false).contains("by device"));
    }

    #[test]
    fn control_protocols_hide_nothing() {
        const ARP: EtherType = EtherType(0x0806);
        let mut stats = Stats::default();
        packets(&mut stats).count(Outcome::Skipped(Skip::NotIp));
        stats.source.unread.count(ARP, 1);
        assert!(!report(&stats, false).contains("not read"));
        let detailed = report(&stats, true);
        assert!(detailed.ends_with("\nnot IP: ARP (EtherType 0x0806): 1"), "{detailed}");
    }

    #[test]
    fn the_last_word_on_losses_is_a_warning() {
        let mut stats = Stats::default();
        let of_lost = |stats: &Stats| stats.lines(false).last().cloned().expect("a line");
        assert_eq!(of_lost(&stats), (Level::Info, "lost: 0".to_owned()));
        stats.source.dropped = 4;
        assert_eq!(of_lost(&stats).0, Level::Warn);
        stats.source.packets = None;
        assert_eq!(of_lost(&stats).0, Level::Warn, "unknown is not 0");
    }
}
