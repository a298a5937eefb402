//! One recording of several: of one machine, or of machines with one role. What is in several counts once, with
//! what they know together; what they contradict each other in is told.

use std::{collections::BTreeSet, fmt};

use super::{Part, Recording};
use crate::{print::words::count_of, record::Record, tree::Provenance};

/// What recordings contradict each other in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// So many connections were answered in one recording and not in another.
    Evidence(usize),
    /// They were recorded with other flags, so they hold, or fold, other connections. By the names of two.
    Flags(String, String),
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evidence(count) => write!(
                f,
                "{} answered in one recording and not in another: taken for answered",
                count_of(*count, "connection")
            ),
            Self::Flags(one, other) => write!(
                f,
                "{one} and {other} were recorded with different flags: what INTERNET is, or what was left out, \
                 may differ"
            ),
        }
    }
}

impl Recording {
    /// One recording of several, and what they contradict each other in. One alone stays as it is.
    pub fn merged(mut recordings: Vec<Self>) -> (Self, Vec<Conflict>) {
        if recordings.len() == 1
            && let Some(only) = recordings.pop()
        {
            return (only, Vec::new());
        }
        let parts: Vec<_> = recordings.iter().map(Self::part).collect();
        let mut merged = Self { provenance: common(&parts), ..Self::default() };
        let mut conflicts: Vec<_> = different_flags(&parts).into_iter().collect();
        for Self { name, records, strangers, unreadable, left_out, .. } in recordings {
            merged.records.extend(records);
            let named = |(path, why)| (name.join(path), why);
            merged.strangers.extend(strangers.into_iter().map(named));
            merged.unreadable.extend(unreadable.into_iter().map(named));
            merged.left_out += left_out;
        }
        merged.parts = parts;
        let contradicted = unite(&mut merged.records);
        conflicts.extend((contradicted > 0).then_some(Conflict::Evidence(contradicted)));
        (merged, conflicts)
    }

    /// The machines that it is of: their names, or where those are not told, the files. One recording is of one.
    pub fn machines(&self) -> BTreeSet<String> {
        self.parts.iter().map(Part::machine).collect()
    }

    /// The devices that it is of, as far as they are told.
    pub fn devices(&self) -> BTreeSet<&str> {
        self.parts.iter().flat_map(Part::devices).collect()
    }
}

/// Makes one of records of the same connection; how many contradicted each other.
fn unite(records: &mut Vec<Record>) -> usize {
    records.sort_unstable();
    let mut contradicted = BTreeSet::new();
    records.dedup_by(|next, first| {
        let is_same = next.connection == first.connection;
        if is_same {
            let answers = [first.outcome.is_answered(), next.outcome.is_answered()];
            if let [Some(one), Some(other)] = answers
                && one != other
            {
                contradicted.insert(first.connection);
            }
            first.merge(next);
        }
        is_same
    });
    contradicted.len()
}

/// What all recordings say of themselves; nothing if none says anything.
fn common(parts: &[Part]) -> Option<Provenance> {
    let told: Vec<_> = parts.iter().map(|it| it.provenance.as_ref()).collect();
    if told.iter().all(Option::is_none) {
        return None;
    }
    let all: Option<Vec<&Provenance>> = told.iter().copied().collect();
    let known = || told.iter().copied().flatten();
    let all = all.unwrap_or_default();
    Some(Provenance {
        host: agreed(&all, |it| it.host.clone()),
        devices: agreed(&all, |it| Some(it.devices.clone())).unwrap_or_default(),
        // Since then there is evidence in all of them.
        since: all
            .iter()
            .map(|it| it.since)
            .collect::<Option<Vec<_>>>()
            .and_then(|it| it.into_iter().max()),
        mode: agreed(&all, |it| Some(it.mode.clone())).unwrap_or_default(),
        hook: agreed(&all, |it| Some(it.hook.clone())).unwrap_or_default(),
        flags: agreed(&all, |it| Some(it.flags.clone())).unwrap_or_default(),
        ip_local_port_range: agreed(&all, |it| it.ip_local_port_range),
        udp_in: known()
            .flat_map(|it| it.udp_in.iter().copied())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        lost: sum(&all),
        ..Provenance::default()
    })
}

fn agreed<T: PartialEq>(
    all: &[&Provenance],
    field: impl Fn(&Provenance) -> Option<T>,
) -> Option<T> {
    let (first, others) = all.split_first()?;
    let value = field(first)?;
    others.iter().all(|it| field(it).as_ref() == Some(&value)).then_some(value)
}

/// Over all of them; unknown if one is.
fn sum(all: &[&Provenance]) -> Option<u64> {
    let lost: Option<Vec<u64>> = all.iter().map(|it| it.lost).collect();
    lost.filter(|it| !it.is_empty()).map(|it| it.into_iter().fold(0, u64::saturating_add))
}

/// The first two that were recorded with different flags, of those that tell.
fn different_flags(parts: &[Part]) -> Option<Conflict> {
    let flags = |part: &Part| part.provenance.as_ref().map(|it| it.flags.clone());
    let mut told = parts.iter().filter_map(|part| Some((part, flags(part)?)));
    let (first, first_flags) = told.next()?;
    let (other, _) = told.find(|(_, it)| *it != first_flags)?;
    let name = |part: &Part| part.name.display().to_string();
    Some(Conflict::Flags(name(first), name(other)))
}
