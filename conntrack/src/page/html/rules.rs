//! What rules would refuse.

use maud::{Markup, html};

use super::parts::{self, ROWS, address, column, folded, rest, time};
use crate::{
    audit::{Audit, Verdict},
    page::{
        subject::Judged,
        text::{self, Count, count_of, host, name},
    },
    show::Services,
    tree::direction_directory,
};

pub(super) fn section(judged: &Judged<'_>, names: &Services) -> Markup {
    let heading = "What the rules would refuse";
    match &judged.audit {
        Ok(audit) => parts::section("rules", heading, &lead(judged, audit), &content(audit, names)),
        Err(why) => {
            let lead = html! {
                "Unknown: the rules of " code { (name(&judged.file)) } " were not tried. " (name(why))
            };
            parts::section("rules", heading, &lead, &html! {})
        }
    }
}

fn lead(judged: &Judged<'_>, audit: &Audit) -> Markup {
    let not_judged = audit.count(Verdict::NotJudged);
    let tried = audit.judgements.len() - not_judged;
    html! {
        "The kernel was asked, with the rules of " code { (name(&judged.file)) } ": of "
        (count_of(tried, "connection")) " that need a rule, " (Count(audit.count(Verdict::Accepted)))
        " would be accepted and " (Count(audit.not_for_all().count())) " refused."
        @if not_judged > 0 {
            " " (count_of(not_judged, "connection")) " could not be judged: the kernel takes none like it, rules or not."
        }
        @for note in &audit.notes { " Note: " (name(note)) "." }
    }
}

fn content(audit: &Audit, names: &Services) -> Markup {
    let refused = audit.not_for_all().count();
    html! {
        @if refused > 0 {
            (folded(true, &format!("{} refused", Count(refused)), &html! {
                (table(audit, names))
                (rest(refused.min(ROWS), refused, "the first", "conntrack audit -p DIR --rules FILE"))
            }))
        }
    }
}

fn table(audit: &Audit, names: &Services) -> Markup {
    html! {
        table.refused {
            caption { "Recorded connections that the rules would refuse" }
            thead {
                tr {
                    (column("Direction"))
                    (column("From"))
                    (column("To"))
                    (column("Port"))
                    (column("Refused"))
                    (column("Last seen"))
                }
            }
            tbody {
                @for judgement in audit.not_for_all().take(ROWS) {
                    @let connection = &judgement.record.connection;
                    tr {
                        td.direction { (direction_directory(connection.direction)) }
                        td.address { (address(&text::source(connection))) }
                        td.address { (address(&host(connection.destination))) }
                        td.port { (text::port(connection.protocol, connection.destination_port, names)) }
                        td.outcome { span.unanswered { (part(judgement.verdict)) } }
                        td.last { (time(judgement.record.last_seen)) }
                    }
                }
            }
        }
    }
}

fn part(verdict: Verdict) -> String {
    match verdict {
        Verdict::Refused { part, internet: Some(address) } => {
            format!("{} (INTERNET as {address})", part.as_str())
        }
        Verdict::Refused { part, internet: None } => part.as_str().to_owned(),
        Verdict::Partly { part, internet } => {
            format!("{} (for {internet}, which the rules name)", part.as_str())
        }
        Verdict::Accepted | Verdict::NotJudged => String::new(),
    }
}
