//! A rule set: chains of rules, and what the user has to know about them.

use std::collections::BTreeSet;

use super::{
    addresses::AddressSet,
    answers::GroupRequests,
    choosing::{Choice, choose},
    data::Helper,
    doubtful::Doubtful,
    doubts::Doubts,
    grouping,
    internet::Internet,
    omissions::Omission,
    vocabulary::{BaseChain, Chain, Facts, Request, Rule, Side, Window},
    warnings::{self, Warning},
};
use crate::{
    connection::{IpVersion, Protocol},
    recording::Recording,
    tree::Provenance,
};

/// Chains of rules, and what the user has to know about them.
#[derive(Clone, Debug)]
pub struct RuleSet {
    /// What was asked for.
    pub request: Request,
    /// What `INTERNET` matches.
    internet: Internet,
    /// One for each direction in which something was seen.
    pub chains: Vec<Chain>,
    /// The records that rules were made of; `None` if there are none.
    pub window: Option<Window>,
    /// Helpers that let data connections through, and in which chains.
    pub helpers: BTreeSet<(Helper, BaseChain)>,
    /// Who asks whom by multicast or broadcast.
    pub group_requests: Vec<GroupRequests>,
    /// What the rules might break or let through.
    pub warnings: Vec<Warning>,
    /// What has no rule on purpose.
    pub omissions: Vec<Omission>,
    /// What the tree says of its recording, if anything.
    pub provenance: Option<Provenance>,
    /// Several recordings, if it is of several.
    pub several: Option<Several>,
}

/// Several recordings.
#[derive(Clone, Debug)]
pub struct Several {
    /// How many.
    pub recordings: usize,
    /// On which machines.
    pub machines: Vec<String>,
    /// On which devices.
    pub devices: Vec<String>,
}

impl Several {
    fn of(recording: &Recording) -> Option<Self> {
        let devices = recording.devices().into_iter().map(str::to_owned);
        (recording.parts.len() > 1).then(|| Self {
            recordings: recording.parts.len(),
            machines: recording.machines().into_iter().collect(),
            devices: devices.collect(),
        })
    }
}

impl RuleSet {
    /// The rules that accept what was recorded.
    pub fn of(recording: &Recording, request: Request) -> Self {
        let choice = choose(recording, &request);
        let warnings = warnings::about(recording, &choice, &request);
        let doubtful = Doubtful::of(recording, &warnings);
        Self {
            internet: Internet::without(&request.internal),
            chains: chains(&choice, &request, &doubtful),
            window: window(&choice),
            warnings,
            group_requests: GroupRequests::of(recording, &choice),
            helpers: choice.helpers,
            omissions: choice.omissions,
            provenance: recording.provenance.clone(),
            several: Several::of(recording),
            request,
        }
    }

    /// Whether packets that get to this chain are judged.
    pub fn filters(&self, base: BaseChain) -> bool {
        self.chains.iter().any(|chain| chain.base == base)
    }

    /// Whether it refuses who comes by ssh: nobody was seen who did.
    pub(crate) fn locks_out(&self) -> bool {
        self.request.enforce && self.warnings.contains(&Warning::NoSsh)
    }

    /// What `INTERNET` matches.
    pub(crate) fn internet(&self, version: IpVersion) -> AddressSet {
        self.internet.addresses(version)
    }

    /// Who asks whom by multicast or broadcast, with rules in both directions.
    pub(crate) fn answered_requests(&self) -> impl Iterator<Item = &GroupRequests> {
        let has_both = self.filters(BaseChain::Input) && self.filters(BaseChain::Output);
        self.group_requests.iter().filter(move |_| has_both)
    }

    /// Whether a rule of this version is about this side.
    pub(crate) fn uses(&self, side: &Side, version: IpVersion) -> bool {
        let mut rules = self.chains.iter().flat_map(|chain| &chain.rules);
        rules.any(|rule| {
            rule.version == version && (rule.source == *side || rule.destination == *side)
        })
    }
}

fn chains(choice: &Choice, request: &Request, doubtful: &Doubtful) -> Vec<Chain> {
    let chain = |base: BaseChain| {
        let own = choice.chosen.iter().filter(|(chain, _)| *chain == base);
        let own = own.map(|(_, record)| *record);
        let mut rules = grouping::rules(base, own, request, |it| doubtful.about(base, it));
        let sent = rules.iter().filter(|_| base == BaseChain::Output);
        let folded: Vec<_> = sent.filter_map(for_folded_groups).collect();
        rules.extend(folded);
        // Where units have rules of their own, each with those of its unit.
        rules.sort_by(|one, other| {
            (one.units.is_empty(), &one.units).cmp(&(other.units.is_empty(), &other.units))
        });
        Chain { base, rules }
    };
    choice.chains.iter().copied().map(chain).collect()
}

/// The tree does not tell whether UDP to `INTERNET` went to a multicast or broadcast address. The
/// rule about the internet leaves them out, so there is one of their own.
fn for_folded_groups(rule: &Rule) -> Option<Rule> {
    let may_be = rule.destination == Side::Internet
        && (rule.protocol, rule.version) == (Protocol::Udp, IpVersion::V4);
    let facts = Facts { doubts: Doubts::new(), ..rule.facts.clone() };
    may_be.then(|| Rule { destination: Side::FoldedGroups, facts, ..rule.clone() })
}

fn window(choice: &Choice) -> Option<Window> {
    let times = || choice.chosen.iter().map(|(_, record)| record.last_seen);
    Some(Window { connections: choice.chosen.len(), first: times().min()?, last: times().max()? })
}
