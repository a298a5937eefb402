//! What came of an audit: a line for each connection that is refused and the sums, or JSON.

use std::{fmt, net::IpAddr};

use serde::Serialize;

use super::{json::Object, words::count_of};
use crate::{
    audit::{Audit, Judgement, Verdict},
    connection::Connection,
    tree,
    utc::Utc,
};

/// An audit for people.
pub struct Table<'a>(pub &'a Audit);

/// An audit as one JSON object.
pub struct Json<'a>(pub &'a Audit);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(audit) = self;
        for judgement in audit.refused() {
            let Verdict::Refused { part, internet } = judgement.verdict else { continue };
            let path = tree::path(&judgement.record.connection);
            let part = part.as_str();
            write!(f, "- {path}  {}  {part} refused", Utc(judgement.record.last_seen))?;
            match internet {
                Some(address) => writeln!(f, " (INTERNET as {address})")?,
                None => writeln!(f)?,
            }
        }
        for (judgement, part, address) in partly(audit) {
            let path = tree::path(&judgement.record.connection);
            let seen = Utc(judgement.record.last_seen);
            writeln!(f, "~ {path}  {seen}  {part} refused for {address}, which the rules name")?;
        }
        if let Some(attacks) = &audit.attacks {
            let all = attacks.unanswered.iter().chain(&attacks.never_seen);
            for (connection, _) in all.filter(|(_, is_let_in)| *is_let_in) {
                writeln!(f, "! {}  let in", tree::path(connection))?;
            }
            write_let_in(f, "that nobody answered", &attacks.unanswered)?;
            write_let_in(f, "of a sample that was never seen", &attacks.never_seen)?;
        }
        write_sum(f, audit)
    }
}

/// What is accepted but for an address that the rules name, and which.
fn partly(audit: &Audit) -> impl Iterator<Item = (&Judgement, &'static str, IpAddr)> {
    audit.judgements.iter().filter_map(|judgement| match judgement.verdict {
        Verdict::Partly { part, internet } => Some((judgement, part.as_str(), internet)),
        _ => None,
    })
}

fn write_let_in(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    tried: &[(Connection, bool)],
) -> fmt::Result {
    let let_in = tried.iter().filter(|(_, is_let_in)| *is_let_in).count();
    writeln!(f, "{let_in} of {} {what} let in", count_of(tried.len(), "connection"))
}

fn write_sum(f: &mut fmt::Formatter<'_>, audit: &Audit) -> fmt::Result {
    let accepted = audit.count(Verdict::Accepted);
    let not_judged = audit.count(Verdict::NotJudged);
    let judged = audit.judgements.len() - not_judged;
    if not_judged > 0 {
        writeln!(
            f,
            "{} not judged: the kernel takes none like it here, rules or not",
            count_of(not_judged, "connection")
        )?;
    }
    let partly = partly(audit).count();
    if partly > 0 {
        writeln!(
            f,
            "{} accepted, but not for addresses of INTERNET that the rules name",
            count_of(partly, "connection")
        )?;
    }
    write!(f, "{accepted} of {judged} recorded connections accepted")?;
    // Rounded down: 100.0 % is all of them.
    if let Some(per_mille) = (accepted * 1000).checked_div(judged) {
        write!(f, " ({}.{} %)", per_mille / 10, per_mille % 10)?;
    }
    writeln!(f)
}

#[derive(Serialize)]
struct Whole {
    judged: usize,
    accepted: usize,
    refused: Vec<Refused>,
    /// Accepted, but not for this address of `INTERNET`, which the rules name.
    partly: Vec<Refused>,
    not_judged: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attacks: Option<Attacks>,
}

#[derive(Serialize)]
struct Refused {
    file: String,
    /// `connection` or `answer`.
    part: &'static str,
    /// The address that stood for `INTERNET`.
    internet: Option<String>,
    #[serde(flatten)]
    record: Object,
}

#[derive(Serialize)]
struct Attacks {
    unanswered: Vec<Attack>,
    never_seen: Vec<Attack>,
}

#[derive(Serialize)]
struct Attack {
    file: String,
    let_in: bool,
}

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(audit) = self;
        let with = |verdict| audit.judgements.iter().filter(move |it| it.verdict == verdict);
        let refused = audit.refused().filter_map(|judgement| {
            let Verdict::Refused { part, internet } = judgement.verdict else { return None };
            Some(Refused {
                file: tree::path(&judgement.record.connection),
                part: part.as_str(),
                internet: internet.map(|address| address.to_string()),
                record: Object::from(&judgement.record),
            })
        });
        let partly = partly(audit).map(|(judgement, part, address)| Refused {
            file: tree::path(&judgement.record.connection),
            part,
            internet: Some(address.to_string()),
            record: Object::from(&judgement.record),
        });
        let not_judged: Vec<_> =
            with(Verdict::NotJudged).map(|it| tree::path(&it.record.connection)).collect();
        let whole = Whole {
            judged: audit.judgements.len() - not_judged.len(),
            accepted: with(Verdict::Accepted).count(),
            refused: refused.collect(),
            partly: partly.collect(),
            not_judged,
            attacks: audit.attacks.as_ref().map(|it| Attacks {
                unanswered: attacks(&it.unanswered),
                never_seen: attacks(&it.never_seen),
            }),
        };
        let text = serde_json::to_string(&whole).map_err(|_| fmt::Error)?;
        writeln!(f, "{text}")
    }
}

fn attacks(tried: &[(Connection, bool)]) -> Vec<Attack> {
    let attack = |(connection, let_in): &(Connection, bool)| Attack {
        file: tree::path(connection),
        let_in: *let_in,
    };
    tried.iter().map(attack).collect()
}
