//! Tables of records by port: services, what is used, what was tried, what others do.

use maud::{Markup, html};

use super::parts::{
    ROWS, address, column, folded, number_column, outcomes, rest, section, time, time_if_known,
    units,
};
use crate::{
    page::{
        groups::Group,
        parts::{tally, total},
        text::{Count, count_of, host, port},
    },
    show::Services,
};

/// Peers that are named of a port; more are only counted.
const PEERS: usize = 40;
/// So many are named without unfolding.
const PEERS_AT_ONCE: usize = 3;
/// A table with more rows is folded.
const OPEN: usize = 30;

/// What a table of groups is about.
struct Table<'a> {
    id: &'a str,
    heading: &'a str,
    /// What there is, as in `service`.
    noun: &'a str,
    caption: &'a str,
    /// The heading of the peers.
    peers: &'a str,
    has_places: bool,
    /// Where nothing is there.
    nothing: &'a str,
    command: &'a str,
    is_open: bool,
}

pub(super) fn services(groups: &[Group], names: &Services) -> Markup {
    let table = Table {
        id: "services",
        heading: "Services of this machine",
        noun: "service",
        caption: "Ports of this machine that were answered, or may have been, and who asks them",
        peers: "Used by",
        has_places: true,
        nothing: "Nobody asked for anything here and was answered.",
        command: "conntrack show DIR --in -f csv",
        is_open: true,
    };
    table.section(groups, names)
}

pub(super) fn uses(groups: &[Group], names: &Services) -> Markup {
    let table = Table {
        id: "uses",
        heading: "What this machine uses",
        noun: "port",
        caption: "Ports elsewhere that this machine asks, and where they are",
        peers: "Where",
        has_places: false,
        nothing: "This machine asked for nothing.",
        command: "conntrack show DIR --out -f csv",
        is_open: true,
    };
    table.section(groups, names)
}

pub(super) fn tries(groups: &[Group], names: &Services) -> Markup {
    let table = Table {
        id: "tries",
        heading: "What arrived for no service",
        noun: "port",
        caption: "Ports of this machine that nobody answered at, and who asked",
        peers: "Asked by",
        has_places: true,
        nothing: "Nothing.",
        command: "conntrack show DIR --in -f csv",
        is_open: false,
    };
    table.section(groups, names)
}

pub(super) fn others(groups: &[Group], names: &Services) -> Markup {
    let table = Table {
        id: "others",
        heading: "Between others",
        noun: "port",
        caption: "What passed the device and is neither from nor to this machine, such as multicast",
        peers: "Asked by",
        has_places: true,
        nothing: "Nothing was seen, or it was not recorded.",
        command: "conntrack show DIR --else -f csv",
        is_open: false,
    };
    table.section(groups, names)
}

impl Table<'_> {
    fn section(&self, groups: &[Group], names: &Services) -> Markup {
        let Some(sum) = tally(groups) else {
            return section(self.id, self.heading, &html! { (self.nothing) }, &html! {});
        };
        let lead = html! {
            (count_of(groups.len(), self.noun)) ", " (count_of(total(groups), "connection")) ": "
            (sum.words()) "."
        };
        let summary = count_of(groups.len(), self.noun);
        let is_open = self.is_open && groups.len() <= OPEN;
        section(
            self.id,
            self.heading,
            &lead,
            &folded(is_open, &summary, &self.table(groups, names)),
        )
    }

    fn table(&self, groups: &[Group], names: &Services) -> Markup {
        html! {
            table.groups.places[self.has_places] {
                caption { (self.caption) }
                thead {
                    tr {
                        (column("Port"))
                        @if self.has_places { (column("At")) }
                        (column(self.peers))
                        (number_column("Connections"))
                        (column("What came of it"))
                        (column("First seen"))
                        (column("Last seen"))
                    }
                }
                tbody { @for group in groups.iter().take(ROWS) { (self.row(group, names)) } }
            }
            (rest(groups.len().min(ROWS), groups.len(), "those with most peers", self.command))
        }
    }

    fn row(&self, group: &Group, names: &Services) -> Markup {
        html! {
            tr {
                th scope="row" {
                    (port(group.asked.protocol, group.asked.port, names))
                    (units(&group.units))
                }
                @if self.has_places {
                    td.address { @if let Some(at) = group.asked.at { (address(&host(at))) } }
                }
                td.peers { (peers(group)) }
                td.number { (Count(group.sum.total())) }
                td.outcome { (outcomes(&group.sum)) }
                td.first { (time_if_known(group.sum.first_seen)) }
                td.last { (time(group.sum.last_seen)) }
            }
        }
    }
}

/// Who: a few at once, many after unfolding.
fn peers(group: &Group) -> Markup {
    let peers = group.peers();
    // Where all fared alike, the column beside says it.
    let is_mixed = peers.len() > 1 && peers.iter().any(|(_, it)| it.words() != peers[0].1.words());
    let item = |(peer, tally): &(crate::connection::Host, &crate::page::tally::Tally)| {
        html! {
            span.address { (address(&host(*peer))) }
            @if is_mixed { " " span.aside { (outcomes(tally)) } }
        }
    };
    let more = peers.len().saturating_sub(PEERS);
    html! {
        @if peers.len() <= PEERS_AT_ONCE {
            ul { @for peer in &peers { li { (item(peer)) } } }
        } @else {
            details {
                summary { (Count(peers.len())) " peers" }
                ul {
                    @for peer in peers.iter().take(PEERS) { li { (item(peer)) } }
                    @if more > 0 { li.aside { "and " (Count(more)) " more" } }
                }
            }
        }
    }
}
