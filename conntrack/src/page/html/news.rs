//! What was first seen in the last 24 hours, 7 days and 30 days.

use maud::{Markup, html};

use super::{
    all,
    parts::{self, ROWS, column, folded, number_column, rest, time},
};
use crate::{
    page::{
        news::News,
        text::{Count, count_of},
    },
    show::Services,
};

pub(super) fn section(news: &News<'_>, names: &Services) -> Markup {
    parts::section("new", "New", &lead(news), &html! { (sums(news)) (lists(news, names)) })
}

fn lead(news: &News<'_>) -> Markup {
    html! {
        "Connections by when they were first seen."
        @if let Some(start) = news.start {
            " The first of all was seen " (time(start)) ": what is new in a longer time than since then is everything."
        }
        @if news.untold > 0 {
            " Of " (count_of(news.untold, "connection")) " that is unknown: the tree is a copy or was made from a "
            "capture, or its file system does not tell."
        }
    }
}

fn sums(news: &News<'_>) -> Markup {
    let sums = news.ages.iter().scan(0, |sum, age| {
        *sum += age.records.len();
        Some((age.name, *sum))
    });
    html! {
        table.sums {
            caption { "How many connections are new" }
            thead { tr { (column("In the last")) (number_column("New connections")) } }
            tbody {
                @for (name, sum) in sums {
                    tr { th scope="row" { (name) } td.number { (at_least(sum, news)) } }
                }
                @if news.untold > 0 {
                    tr { th scope="row" { "unknown" } td.number { (Count(news.untold)) } }
                }
            }
        }
    }
}

/// What is unknown may be new.
pub(super) fn at_least(count: usize, news: &News<'_>) -> String {
    match (count, news.untold) {
        (_, 0) => Count(count).to_string(),
        (0, _) => "unknown".to_owned(),
        _ => format!("at least {}", Count(count)),
    }
}

fn lists(news: &News<'_>, names: &Services) -> Markup {
    let mut shorter: Option<&str> = None;
    html! {
        @for age in news.ages.iter().filter(|it| !it.records.is_empty()) {
            @let caption = caption(age.name, shorter.replace(age.name));
            @let records: Vec<_> = age.records.iter().take(ROWS).copied().collect();
            @let summary = format!("{}: {}", caption, Count(age.records.len()));
            (folded(false, &summary, &html! {
                (all::table(&caption, &records, names))
                (rest(records.len(), age.records.len(), "the latest", &format!("conntrack show DIR --new {} -f csv", age.typed)))
            }))
        }
    }
}

/// What is in one list is not in the next.
fn caption(name: &str, shorter: Option<&str>) -> String {
    match shorter {
        None => format!("New in the last {name}"),
        Some(shorter) => format!("New in the last {name}, and not in the last {shorter}"),
    }
}
