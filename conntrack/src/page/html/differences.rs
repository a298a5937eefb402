//! Where machines of one role differ.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::parts::{self, ROWS, column, folded, rest};
use crate::{
    connection::Direction,
    page::{
        differences::{Difference, Habit, Machine, by_name, differences},
        text::{Count, count_of, name, port},
    },
    show::Services,
};

/// Ports that are named of a machine; more are only counted.
const PORTS: usize = 12;

/// Nothing where there is one machine only.
pub(super) fn section(machines: &[Machine], names: &Services) -> Option<Markup> {
    let machines = by_name(machines);
    if machines.len() < 2 {
        return None;
    }
    let differ = differences(&machines);
    let lead = html! {
        "Of " (count_of(machines.len(), "machine")) ", " (Count(differ.len()))
        @if differ.len() == 1 { " differs" } @else { " differ" }
        " from what more than half of them do, in the ports that they serve and in those that they ask for."
    };
    let content = html! {
        @if !differ.is_empty() {
            (folded(true, &count_of(differ.len(), "machine"), &table(&differ, names)))
        }
    };
    Some(parts::section("machines", "Machines that differ", &lead, &content))
}

fn table(differ: &[Difference<'_>], names: &Services) -> Markup {
    html! {
        table.machines {
            caption { "What a machine does and most do not, and what most do and it does not" }
            thead {
                tr {
                    (column("Machine"))
                    (column("Only here, or with few"))
                    (column("Missing here"))
                }
            }
            tbody {
                @for it in differ.iter().take(ROWS) {
                    tr {
                        th scope="row" { (name(it.machine)) }
                        td.more { (habits(&it.more, names)) }
                        td.less { (habits(&it.less, names)) }
                    }
                }
            }
        }
        (rest(differ.len().min(ROWS), differ.len(), "those that differ most", "conntrack diff -p ONE --with OTHER"))
    }
}

fn habits(habits: &[Habit], names: &Services) -> Markup {
    let of = |direction| {
        let of = habits.iter().filter(move |(it, _)| *it == direction);
        of.map(|(_, asked)| port(asked.protocol, asked.port, names)).collect::<BTreeSet<_>>()
    };
    html! {
        @for (direction, word) in [(Direction::In, "serves "), (Direction::Out, "asks for ")] {
            @let ports: Vec<_> = of(direction).into_iter().collect();
            @if !ports.is_empty() {
                div {
                    span.aside { (word) }
                    (ports.iter().take(PORTS).map(String::as_str).collect::<Vec<_>>().join(", "))
                    @if ports.len() > PORTS { " and " (Count(ports.len() - PORTS)) " more" }
                }
            }
        }
    }
}
