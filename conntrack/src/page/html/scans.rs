//! Scans: a line for each source.

use std::{collections::BTreeSet, fmt::Write as _};

use maud::{Markup, html};

use super::parts::{
    self, ROWS, address, column, folded, number_column, outcomes, rest, time, time_if_known,
};
use crate::page::{
    parts::total_of_scans,
    scans::{PORTS, Scan},
    text::{Count, count_of, host, protocol},
};

/// Of a list of ports; more are only counted.
const RANGES: usize = 12;

pub(super) fn section(scans: &[Scan]) -> Markup {
    let lead = html! {
        @if scans.is_empty() {
            "Nobody tried " (PORTS) " ports or more in vain."
        } @else {
            (count_of(scans.len(), "source")) " tried " (PORTS) " ports or more that nobody answered at: "
            (count_of(total_of_scans(scans), "connection")) "."
        }
    };
    let content = html! {
        @if !scans.is_empty() {
            (folded(true, &count_of(scans.len(), "scan"), &table(scans)))
        }
    };
    parts::section("scans", "Scans", &lead, &content)
}

fn table(scans: &[Scan]) -> Markup {
    html! {
        table.scans {
            caption { "Who tried many ports in vain, a line for each source" }
            thead {
                tr {
                    (column("Source"))
                    (number_column("Hosts"))
                    (number_column("Connections"))
                    (column("Ports"))
                    (column("What came of it"))
                    (column("First seen"))
                    (column("Last seen"))
                }
            }
            tbody {
                @for scan in scans.iter().take(ROWS) {
                    tr {
                        th.address scope="row" { (address(&host(scan.source))) }
                        td.number.hosts { (Count(scan.targets.len())) }
                        td.number { (Count(scan.sum.total())) }
                        td.ports {
                            @for (index, (of, ports)) in scan.ports.iter().enumerate() {
                                @if index > 0 { "; " }
                                (protocol(*of)) " " (ranges(ports))
                            }
                        }
                        td.outcome { (outcomes(&scan.sum)) }
                        td.first { (time_if_known(scan.sum.first_seen)) }
                        td.last { (time(scan.sum.last_seen)) }
                    }
                }
            }
        }
        (rest(scans.len().min(ROWS), scans.len(), "those with most tries", "conntrack show DIR --unanswered -f csv"))
    }
}

/// Ports as ranges, as in `22, 80–90 and 17 more`.
fn ranges(ports: &BTreeSet<u16>) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for &port in ports {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == port => *last = port,
            _ => ranges.push((port, port)),
        }
    }
    let mut text = String::new();
    for (index, (first, last)) in ranges.iter().take(RANGES).enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        let _infallible = match last - first {
            0 => write!(text, "{comma}{first}"),
            1 => write!(text, "{comma}{first}, {last}"),
            _ => write!(text, "{comma}{first}–{last}"),
        };
    }
    let rest = ranges.iter().skip(RANGES);
    let more: usize = rest.map(|(first, last)| usize::from(last - first) + 1).sum();
    if more > 0 {
        let _infallible = write!(text, " and {} more", Count(more));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_left_out_in_silence() {
        let text = |ports: &[u16]| ranges(&ports.iter().copied().collect());
        assert_eq!(text(&[]), "");
        assert_eq!(text(&[22, 80, 81, 90, 91, 92, 65_535]), "22, 80, 81, 90–92, 65535");
        let odd: Vec<_> = (0..100).map(|it| it * 2).collect();
        assert_eq!(text(&odd), "0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22 and 88 more");
        let all: Vec<_> = (0..=u16::MAX).collect();
        assert_eq!(text(&all), "0–65535");
    }
}
