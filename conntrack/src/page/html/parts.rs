//! What sections are made of.

use std::{fmt::Display, time::SystemTime};

use maud::{Markup, html};

use crate::{
    page::{
        tally::{Class, Tally, word},
        text::{Count, minute, name},
    },
    record::Outcome,
    unit::Units,
    utc::Utc,
};

/// Rows of a table; more are only counted.
pub(super) const ROWS: usize = 200;

/// A section of the page: its heading, what it is, and what is in it.
pub(super) fn section(id: &str, heading: &str, lead: &Markup, content: &Markup) -> Markup {
    html! {
        section id=(id) aria-labelledby={ (id) "-heading" } {
            h2 id={ (id) "-heading" } { (heading) }
            p.lead { (lead) }
            (content)
        }
    }
}

/// A table that folds.
pub(super) fn folded(is_open: bool, summary: &str, table: &Markup) -> Markup {
    html! {
        details open[is_open] {
            summary { (summary) }
            (table)
        }
    }
}

/// What a table leaves out, and how to get it.
pub(super) fn rest(shown: usize, all: usize, which: &str, command: &str) -> Markup {
    html! {
        @if shown < all {
            p.rest {
                "Here are " (Count(shown)) " of " (Count(all)) ", " (which) ". All of them: "
                code { (command) }
            }
        }
    }
}

/// An address, which may break where there is little room: IPv6 between its groups, IPv4 nowhere.
pub(super) fn address(text: &str) -> Markup {
    html! {
        @for (index, group) in text.split_inclusive(':').enumerate() {
            @if index > 0 && group != ":" { wbr; }
            (group)
        }
    }
}

pub(super) fn time(time: SystemTime) -> Markup {
    html! { time datetime=(Utc(time)) { (minute(time)) } }
}

/// A time that may be unknown.
pub(super) fn time_if_known(known: Option<SystemTime>) -> Markup {
    html! {
        @match known {
            Some(known) => (time(known)),
            None => span.unknown { "unknown" },
        }
    }
}

/// Whose it is, as far as that is known.
pub(super) fn units(units: &Units) -> Markup {
    html! { @if !units.is_empty() { " " span.unit { (name(&units.to_string())) } } }
}

/// What came of one connection.
pub(super) fn outcome(outcome: Outcome) -> Markup {
    html! { span class=(class(Class::of(outcome))) { (word(outcome)) } }
}

/// What came of several.
pub(super) fn outcomes(tally: &Tally) -> Markup {
    let [answered, unanswered, unknown] = Class::ALL.map(|it| tally.count(it));
    let of_class = match (answered, unanswered, unknown) {
        (_, 0, 0) => class(Class::Answered),
        (0, _, 0) => class(Class::Unanswered),
        (0, 0, _) => class(Class::Unknown),
        _ => "mixed",
    };
    let words = tally.words();
    // One alone needs no number.
    let words = words.strip_prefix("1 ").filter(|_| tally.total() == 1).unwrap_or(&words);
    html! { span class=(of_class) { (words) } }
}

/// What colours go by.
pub(super) const fn class(class: Class) -> &'static str {
    match class {
        Class::Answered => "answered",
        Class::Unanswered => "unanswered",
        Class::Unknown => "unknown",
    }
}

/// A column's heading.
pub(super) fn column(heading: impl Display) -> Markup {
    html! { th scope="col" { (heading.to_string()) } }
}

/// That of a column of numbers.
pub(super) fn number_column(heading: &str) -> Markup {
    html! { th.number scope="col" { (heading) } }
}
