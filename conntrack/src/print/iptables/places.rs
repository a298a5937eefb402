//! Where chains of our own hang: their names, and the built-in chains that jump to them. At the wire, what
//! arrives is judged before its translation; iptables has nothing behind the translation of sources, so what
//! leaves is judged where its destination is translated and its source is not.

use super::ends::End;
use crate::rules::vocabulary::{BaseChain, Standing};

/// From a built-in chain to one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Jump {
    pub(super) table: &'static str,
    pub(super) from: &'static str,
    pub(super) to: &'static str,
}

impl Jump {
    pub(super) const fn of(base: BaseChain, standing: Standing) -> Self {
        let (table, from) = match (standing, base) {
            // Behind the tracking of connections, before their translation.
            (Standing::Wire, BaseChain::Input) => (MANGLE, "PREROUTING"),
            (Standing::Host, BaseChain::Input) => (FILTER, "INPUT"),
            (_, BaseChain::Output) => (FILTER, "OUTPUT"),
            (_, BaseChain::Forward) => (FILTER, "FORWARD"),
        };
        Self { table, from, to: Own::of(base).name() }
    }

    /// Where the rules are for several devices: the match knows one, so a chain of its own picks them.
    pub(super) const fn of_devices(base: BaseChain, standing: Standing) -> Self {
        Self { to: gate(base), ..Self::of(base, standing) }
    }

    /// All that any of our files makes.
    pub(super) fn all() -> Vec<Self> {
        let at = |standing| BaseChain::ALL.map(|base| Self::of(base, standing));
        let mut all: Vec<_> = at(Standing::Host).into_iter().chain(HELPERS).collect();
        let gates = |standing| BaseChain::ALL.map(|base| Self::of_devices(base, standing));
        let gates = gates(Standing::Host).into_iter().chain(gates(Standing::Wire));
        for jump in at(Standing::Wire).into_iter().chain(gates) {
            if !all.contains(&jump) {
                all.push(jump);
            }
        }
        all
    }
}

pub(super) const FILTER: &str = "filter";
pub(super) const MANGLE: &str = "mangle";
pub(super) const RAW: &str = "raw";

/// Where new connections come by, in both directions.
pub(super) const HELPERS: [Jump; 2] = [
    Jump { table: RAW, from: "PREROUTING", to: HELPERS_CHAIN },
    Jump { table: RAW, from: "OUTPUT", to: HELPERS_CHAIN },
];
pub(super) const HELPERS_CHAIN: &str = "conntrack-helpers";

/// A chain of our own that has rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    Input,
    Output,
    Forward,
    /// What passes through and may leave with an address of this host: judged by where it goes.
    Passing,
}

impl Own {
    pub(super) const fn of(base: BaseChain) -> Self {
        match base {
            BaseChain::Input => Self::Input,
            BaseChain::Output => Self::Output,
            BaseChain::Forward => Self::Forward,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Input => "conntrack-input",
            Self::Output => "conntrack-output",
            Self::Forward => "conntrack-forward",
            Self::Passing => "conntrack-passing",
        }
    }

    /// The chain for packets that have this end in the internet; iptables takes 28 characters.
    pub(super) fn internet(self, end: End) -> String {
        match end {
            End::Source => format!("{}-from-inet", self.name()),
            End::Destination => format!("{}-to-inet", self.name()),
        }
    }

    /// It and its parts.
    fn chains(self) -> impl Iterator<Item = String> {
        let ends = match self {
            Self::Input => &[End::Source][..],
            Self::Output | Self::Passing => &[End::Destination],
            Self::Forward => &End::ALL,
        };
        let ends = ends.iter().map(move |end| self.internet(*end));
        [self.name().to_owned()].into_iter().chain(ends)
    }
}

/// The chain that picks the packets of several devices.
pub(super) const fn gate(base: BaseChain) -> &'static str {
    match base {
        BaseChain::Input => "conntrack-input-devices",
        BaseChain::Output => "conntrack-output-devices",
        BaseChain::Forward => "conntrack-forward-devices",
    }
}

/// The chain of packets that no rule accepts.
pub(super) fn rest(base: BaseChain) -> String {
    format!("{}-rest", Own::of(base).name())
}

/// All chains that a built-in one may lead to, from the first to the last.
pub(super) fn chains(base: BaseChain, standing: Standing) -> impl Iterator<Item = String> {
    let is_masked = (base, standing) == (BaseChain::Forward, Standing::Wire);
    let passing = is_masked.then(|| Own::Passing.chains()).into_iter().flatten();
    [gate(base).to_owned()]
        .into_iter()
        .chain(Own::of(base).chains())
        .chain(passing)
        .chain([rest(base)])
}

/// All chains that any of our files has in a table.
pub(super) fn all_chains(table: &str) -> Vec<String> {
    let filter = BaseChain::ALL.into_iter().flat_map(|base| chains(base, Standing::Wire));
    match table {
        FILTER => filter.collect(),
        MANGLE => chains(BaseChain::Input, Standing::Wire).collect(),
        _ => vec![HELPERS_CHAIN.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_chains_are_not_too_long_for_iptables() {
        for name in [FILTER, MANGLE, RAW].into_iter().flat_map(all_chains) {
            assert!(name.len() <= 28, "{name}");
        }
    }

    #[test]
    fn each_jump_is_there_once() {
        let all = Jump::all();
        assert_eq!(all.len(), 10, "{all:?}");
        assert!(all.iter().any(|it| (it.table, it.from) == (MANGLE, "PREROUTING")));
    }
}
