//! The page's text. Each section has a file; `parts` is what they are made of.

mod all;
mod differences;
mod facts;
mod figure;
mod groups;
mod news;
mod parts;
mod rules;
mod scans;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::facts::Facts;
use super::{
    figure::Figure,
    news::News,
    parts::{Parts, total, total_of_scans},
    subject::Subject,
    text::{Count, minute},
};

const STYLE: &str = include_str!("style.css");

/// Nothing is loaded, nothing runs, nothing is sent; only the style that is in the page counts.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The whole page.
pub(super) fn page(page: &Subject<'_>) -> Markup {
    let facts = Facts::of(page);
    let title = facts.title();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (body(page, &facts, &title))
            }
        }
    }
}

fn body(page: &Subject<'_>, facts: &Facts<'_>, title: &str) -> Markup {
    let Subject { recording, now, machines, services, rules } = page;
    let parts = Parts::of(recording);
    let news = News::of(&recording.records, *now);
    let figure = Figure::of(&parts.shown, services);
    html! {
        header {
            h1 { (title) }
            (facts.markup())
        }
        nav aria-label="Sections" {
            ul { @for it in entries(page, &parts, &news) { (it) } }
        }
        main {
            (figure::section(&figure, &parts))
            (news::section(&news, services))
            @if let Some(differ) = differences::section(machines, services) { (differ) }
            (groups::services(&parts.services, services))
            (groups::uses(&parts.uses, services))
            (groups::tries(&parts.tries, services))
            (scans::section(&parts.scans))
            @if let Some(judged) = rules { (rules::section(judged, services)) }
            (groups::others(&parts.others, services))
            (all::section(&recording.records, services))
        }
        footer {
            p {
                "Made by conntrack " (env!("CARGO_PKG_VERSION")) " on "
                time datetime=(crate::utc::Utc(*now)) { (minute(*now)) }
                " UTC. All times are UTC. A connection is a file of the tree: who asked whom on which port, "
                "however often."
            }
        }
    }
}

/// What there is, with its number.
fn entries(page: &Subject<'_>, parts: &Parts<'_>, news: &News<'_>) -> Vec<Markup> {
    let new = news::at_least(news.ages[0].records.len(), news);
    let mut entries = vec![
        entry("new", &new, "new in 24 hours"),
        entry("services", &Count(parts.services.len()).to_string(), "services here"),
        entry("uses", &Count(parts.uses.len()).to_string(), "ports used elsewhere"),
        entry("tries", &Count(total(&parts.tries)).to_string(), "for no service"),
        entry("scans", &Count(total_of_scans(&parts.scans)).to_string(), "in scans"),
    ];
    if let Some(judged) = &page.rules {
        let refused = judged.audit.as_ref().map(|it| it.refused().count());
        let refused = refused.map_or_else(|_| "unknown".to_owned(), |it| Count(it).to_string());
        entries.push(entry("rules", &refused, "refused by rules"));
    }
    entries.push(entry("others", &Count(total(&parts.others)).to_string(), "between others"));
    entries.push(entry(
        "all",
        &Count(page.recording.records.len()).to_string(),
        "connections in all",
    ));
    entries
}

fn entry(section: &str, number: &str, words: &str) -> Markup {
    html! {
        li { a href={ "#" (section) } { b { (number) } " " span { (words) } } }
    }
}
