//! Connections one by one.

use maud::{Markup, html};

use super::parts::{self, address, column, folded, outcome, rest, time, time_if_known, units};
use crate::{
    page::text::{self, Count, count_of, host},
    record::Record,
    show::Services,
    tree::direction_directory,
};

/// Connections that are listed one by one.
const LISTED: usize = 1_000;

pub(super) fn section(records: &[Record], names: &Services) -> Markup {
    let mut latest: Vec<_> = records.iter().collect();
    latest.sort_by_key(|it| (std::cmp::Reverse(it.last_seen), it.connection));
    latest.truncate(LISTED);
    let lead = html! {
        (count_of(records.len(), "connection")) @if !records.is_empty() { ", those that were seen last first" } "."
    };
    let content = html! {
        @if !records.is_empty() {
            (folded(false, &format!("{} connections", Count(latest.len())), &html! {
                (table("Connections, those that were seen last first", &latest, names))
                (rest(latest.len(), records.len(), "those that were seen last", "conntrack show DIR -f csv"))
            }))
        }
    };
    parts::section("all", "All connections", &lead, &content)
}

/// A table of connections.
pub(super) fn table(caption: &str, records: &[&Record], names: &Services) -> Markup {
    html! {
        table.one-by-one {
            caption { (caption) }
            thead {
                tr {
                    (column("Direction"))
                    (column("From"))
                    (column("To"))
                    (column("Port"))
                    (column("What came of it"))
                    (column("First seen"))
                    (column("Last seen"))
                }
            }
            tbody { @for record in records { (row(record, names)) } }
        }
    }
}

fn row(record: &Record, names: &Services) -> Markup {
    let connection = &record.connection;
    html! {
        tr {
            td.direction { (direction_directory(connection.direction)) }
            td.address { (address(&text::source(connection))) }
            td.address { (address(&host(connection.destination))) }
            td.port {
                (text::port(connection.protocol, connection.destination_port, names))
                (units(&record.units))
            }
            td.outcome { (outcome(record.outcome)) }
            td.first { (time_if_known(record.first_seen())) }
            td.last { (time(record.last_seen)) }
        }
    }
}
