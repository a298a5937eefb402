//! Trials: what is sent, and what came of it. All of them together in one namespace, then those that were
//! refused once more, as if each came alone: a limit, or what rules remember of earlier packets, is not a
//! reason to refuse a connection.

use std::{collections::HashSet, io, net::SocketAddr};

use nix::sched::{CloneFlags, unshare};

use super::{
    error::AuditError,
    layout::{Layout, Place},
    packet::{Kind, Packet},
    ruleset::{Ruleset, load_own},
    stage::Stage,
};
use crate::{connection::Protocol, host::thread::on_own_thread};

/// Connections that connection tracking is let to remember.
const REMEMBERED: usize = 16 << 10;
/// Times that what was refused is tried again, as long as that changes something.
const ROUNDS: usize = 8;
/// So few that there is time to forget everything before each.
const FEW: usize = 1 << 10;

/// Keeps the kernel from answering what no program listens to: an RST would close what is to be answered.
const SILENCE: &str = "\
table inet conntrack_audit_silence {
    chain output {
        type filter hook output priority -2147483648; policy accept;
        tcp flags & rst == rst drop
        meta l4proto { icmp, ipv6-icmp, igmp } drop
    }
}
";

/// A conversation that is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    pub(super) protocol: Protocol,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    /// Where the first packet is sent, and where it comes out.
    pub(super) way: (Place, Place),
    /// Whether the answer is tried, too.
    pub(super) is_answered: bool,
}

/// A packet of a conversation that did not come through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first one.
    Connection,
    /// The answer to it.
    Answer,
}

impl Part {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Answer => "answer",
        }
    }
}

/// What came of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Accepted,
    Refused(Part),
    /// It does not come through without rules either.
    Impossible,
}

/// Tries everything with these rules; also what was said about loading them.
///
/// # Errors
/// That there can be no namespace, or rules that are not taken.
pub(super) fn judge(
    trials: &[Trial],
    layout: &Layout,
    ruleset: &Ruleset,
) -> Result<(Vec<Outcome>, Option<String>), AuditError> {
    let all: Vec<_> = (0..trials.len()).collect();
    let (mut outcomes, said) = pass(trials, &all, layout, ruleset)?;
    for _ in 0..ROUNDS {
        let refused = refused(&outcomes);
        if refused.is_empty() {
            return Ok((outcomes, said));
        }
        let (again, _) = pass(trials, &refused, layout, ruleset)?;
        for (index, outcome) in refused.iter().zip(&again) {
            outcomes[*index] = *outcome;
        }
        if !again.contains(&Outcome::Accepted) {
            break;
        }
    }
    let refused = refused(&outcomes);
    let (without_rules, _) = pass(trials, &refused, layout, &Ruleset::default())?;
    for (index, outcome) in refused.iter().zip(without_rules) {
        if outcome != Outcome::Accepted {
            outcomes[*index] = Outcome::Impossible;
        }
    }
    Ok((outcomes, said))
}

fn refused(outcomes: &[Outcome]) -> Vec<usize> {
    let refused = outcomes.iter().enumerate().filter(|(_, it)| matches!(it, Outcome::Refused(_)));
    refused.map(|(index, _)| index).collect()
}

/// Tries some of the trials, once, in a namespace of their own.
pub(super) fn pass(
    trials: &[Trial],
    chosen: &[usize],
    layout: &Layout,
    ruleset: &Ruleset,
) -> Result<(Vec<Outcome>, Option<String>), AuditError> {
    let work = || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| AuditError::Namespace(errno.into()))?;
        let mut stage = Stage::set_up(layout).map_err(AuditError::SetUp)?;
        let said = ruleset.load()?;
        load_own(SILENCE)?;
        let outcomes = try_each(&mut stage, trials, chosen).map_err(AuditError::Trial)?;
        Ok((outcomes, said))
    };
    on_own_thread(work).map_err(AuditError::SetUp)?
}

fn try_each(stage: &mut Stage, trials: &[Trial], chosen: &[usize]) -> io::Result<Vec<Outcome>> {
    let mut outcomes = Vec::with_capacity(chosen.len());
    let mut remembered = HashSet::new();
    for index in chosen {
        let trial = &trials[*index];
        let is_too_much = if chosen.len() <= FEW { 1 } else { REMEMBERED };
        let reversed = (trial.protocol, trial.destination, trial.source);
        if remembered.len() >= is_too_much || remembered.contains(&reversed) {
            stage.network.forget_connections();
            remembered.clear();
        }
        remembered.insert((trial.protocol, trial.source, trial.destination));
        outcomes.push(attempt(stage, trial, tag(*index))?);
    }
    stage.settle()?;
    for (index, outcome) in chosen.iter().zip(&mut outcomes) {
        if *outcome != Outcome::Accepted
            && let Some(after_all) = late(stage, &trials[*index], tag(*index))?
        {
            *outcome = after_all;
        }
    }
    Ok(outcomes)
}

/// Of all trials, each has its own.
fn tag(index: usize) -> u32 {
    const FIRST: u32 = 0x0c07_0000;
    FIRST.wrapping_add(u32::try_from(index).unwrap_or(u32::MAX))
}

fn attempt(stage: &mut Stage, trial: &Trial, tag: u32) -> io::Result<Outcome> {
    let (from, expected) = trial.way;
    let packet = trial.packet(tag);
    stage.send(from, trial.by(), &packet);
    match stage.look(tag, Kind::First, expected)? {
        Some((place, arrived)) if trial.is_way(place) => answer(stage, trial, place, &arrived),
        _ => Ok(Outcome::Refused(Part::Connection)),
    }
}

fn answer(stage: &mut Stage, trial: &Trial, at: Place, arrived: &Packet) -> io::Result<Outcome> {
    if !trial.is_answered {
        return Ok(Outcome::Accepted);
    }
    let (from, _) = trial.way;
    let by = match from {
        Place::Device(device) => Some(device),
        Place::Host => None,
    };
    stage.send(at, by, &arrived.answer());
    match stage.look(arrived.tag, Kind::Answer, from)? {
        Some((place, _)) if place == from => Ok(Outcome::Accepted),
        _ => Ok(Outcome::Refused(Part::Answer)),
    }
}

/// What came through after all, if anything did.
fn late(stage: &mut Stage, trial: &Trial, tag: u32) -> io::Result<Option<Outcome>> {
    let (from, expected) = trial.way;
    if matches!(stage.look(tag, Kind::Answer, from)?, Some((place, _)) if place == from) {
        return Ok(Some(Outcome::Accepted));
    }
    match stage.look(tag, Kind::First, expected)? {
        Some((place, arrived)) if trial.is_way(place) => {
            answer(stage, trial, place, &arrived).map(Some)
        }
        _ => Ok(None),
    }
}

impl Trial {
    const fn packet(&self, tag: u32) -> Packet {
        let Self { protocol, source, destination, .. } = *self;
        Packet { protocol, source, destination, kind: Kind::First, tag }
    }

    /// What this host sends to others leaves by the watched device.
    fn by(&self) -> Option<usize> {
        match self.way {
            (Place::Host, Place::Device(device)) => Some(device),
            _ => None,
        }
    }

    /// Whether a packet that is seen here has come through. Translated, that may be elsewhere than expected.
    fn is_way(&self, place: Place) -> bool {
        let (from, expected) = self.way;
        place == expected || place != from
    }
}
