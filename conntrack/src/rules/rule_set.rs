//! A rule set: chains of rules, and what the user has to know about them.

use super::{
    addresses::AddressSet,
    choosing::{Omission, choose},
    grouping,
    internet::Internet,
    vocabulary::{Aggregation, BaseChain, Chain, Request, Rule, Side, Window},
    warnings::{self, Warning},
};
use crate::{
    connection::{IpVersion, Protocol},
    record::Record,
    recording::Recording,
};

/// Chains of rules, and what the user has to know about them.
#[derive(Clone, Debug)]
pub struct RuleSet {
    /// What was asked for.
    pub request: Request,
    /// What `INTERNET` matches.
    internet: Internet,
    /// Those that have rules.
    pub chains: Vec<Chain>,
    /// The records that rules were made of; `None` if there are none.
    pub window: Option<Window>,
    /// What the rules might break or let through.
    pub warnings: Vec<Warning>,
    /// What has no rule on purpose.
    pub omissions: Vec<Omission>,
}

impl RuleSet {
    /// The rules that accept what was recorded.
    pub fn of(recording: &Recording, request: Request) -> Self {
        let (chosen, omissions) = choose(recording, request.forward);
        let chains = chains(&chosen, request.aggregation);
        Self {
            internet: Internet::without(&request.internal),
            warnings: warnings::about(recording, &chains, &request),
            window: window(&chosen),
            chains,
            omissions,
            request,
        }
    }

    /// Whether packets that get to this chain are judged.
    pub fn filters(&self, base: BaseChain) -> bool {
        self.chains.iter().any(|chain| chain.base == base)
    }

    /// What `INTERNET` matches, if a rule of this version is about it.
    pub(crate) fn internet(&self, version: IpVersion) -> Option<AddressSet> {
        self.uses(&Side::Internet, version).then(|| self.internet.addresses(version))
    }

    /// Whether a rule of this version is about this side.
    pub(crate) fn uses(&self, side: &Side, version: IpVersion) -> bool {
        let mut rules = self.chains.iter().flat_map(|chain| &chain.rules);
        rules.any(|rule| {
            rule.version == version && (rule.source == *side || rule.destination == *side)
        })
    }
}

fn chains(records: &[&Record], aggregation: Aggregation) -> Vec<Chain> {
    let chain = |base: BaseChain| {
        let own =
            records.iter().copied().filter(|it| BaseChain::of(it.connection.direction) == base);
        let mut rules = grouping::rules(base, own, aggregation);
        let folded: Vec<_> = rules.iter().filter_map(for_folded_groups).collect();
        rules.extend(folded);
        (!rules.is_empty()).then_some(Chain { base, rules })
    };
    BaseChain::ALL.into_iter().filter_map(chain).collect()
}

/// The tree does not tell whether UDP to `INTERNET` went to a multicast or broadcast address. The
/// rule about the internet leaves them out, so there is one of their own.
fn for_folded_groups(rule: &Rule) -> Option<Rule> {
    let may_be = rule.destination == Side::Internet
        && (rule.protocol, rule.version) == (Protocol::Udp, IpVersion::V4);
    may_be.then(|| Rule { destination: Side::FoldedGroups, ..rule.clone() })
}

fn window(records: &[&Record]) -> Option<Window> {
    let times = || records.iter().map(|record| record.last_seen);
    Some(Window { connections: records.len(), first: times().min()?, last: times().max()? })
}
