//! What no rule accepts: kept in a set for each chain and version, counted, and logged where it is neither
//! TCP nor UDP. The policy decides about it.

use super::sets::Set;
use crate::{
    connection::IpVersion,
    print::words::{Closing, hook},
    rules::{rule_set::RuleSet, vocabulary::BaseChain},
};

/// Longer than what only happens once a week is away.
const REMEMBERED: &str = "8d";

const VERSIONS: [IpVersion; 2] = [IpVersion::V4, IpVersion::V6];

/// The sets that packets fill.
pub(super) fn sets(rule_set: &RuleSet) -> Vec<Set> {
    let bases = rule_set.chains.iter().map(|chain| chain.base);
    let each = bases.flat_map(|base| VERSIONS.map(|version| (base, version)));
    each.map(|(base, version)| Set::dynamic(set(base, version), kind(version), REMEMBERED))
        .collect()
}

/// The last lines of a chain.
pub(super) fn lines(base: BaseChain, enforce: bool) -> Vec<String> {
    let Closing { log, count } = Closing::of(enforce);
    let chain = hook(base);
    let mut lines: Vec<_> = VERSIONS.map(|version| remember(base, version)).into();
    lines.push(format!(
        "meta l4proto != {{ tcp, udp }} limit rate 10/minute burst 20 packets \
         log prefix \"conntrack {log} {chain}: \""
    ));
    lines.push(format!("counter comment \"{count}\""));
    lines
}

fn remember(base: BaseChain, version: IpVersion) -> String {
    let ip = match version {
        IpVersion::V4 => "ip",
        IpVersion::V6 => "ip6",
    };
    let set = set(base, version);
    format!(
        "meta l4proto {{ tcp, udp }} \
         update @{set} {{ {ip} saddr . {ip} daddr . meta l4proto . th dport counter }}"
    )
}

/// The name of a set: the chain and the version.
fn set(base: BaseChain, version: IpVersion) -> String {
    let version = match version {
        IpVersion::V4 => "v4",
        IpVersion::V6 => "v6",
    };
    format!("dropped_{}_{version}", hook(base))
}

const fn kind(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "ipv4_addr . ipv4_addr . inet_proto . inet_service",
        IpVersion::V6 => "ipv6_addr . ipv6_addr . inet_proto . inet_service",
    }
}
