//! ufw: a script for sh(1) of `ufw allow` lines. They add rules and take none away, so their order does not
//! matter; ssh comes first all the same, and what refuses comes last. Knows nothing of how rules are made.

mod lines;
mod shell;

use std::fmt;

use self::lines::{Block, blocks};
use super::{
    header::{self, Manner, Place},
    networks::{for_port_0, internet},
    words::{self, count_of},
};
use crate::{
    connection::IpVersion,
    rules::{
        rule_set::RuleSet,
        vocabulary::{BaseChain, Rule},
    },
};

const VERSIONS: [IpVersion; 2] = [IpVersion::V4, IpVersion::V6];

/// A rule set as a script.
pub struct Script<'a> {
    rule_set: &'a RuleSet,
    chains: Vec<(BaseChain, Vec<Block>)>,
}

impl<'a> Script<'a> {
    /// The script for a rule set.
    pub fn of(rule_set: &'a RuleSet) -> Self {
        let chains = rule_set.chains.iter();
        let chains = chains.map(|chain| (chain.base, blocks(rule_set, chain))).collect();
        Self { rule_set, chains }
    }
}

impl fmt::Display for Script<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "#!/bin/sh")?;
        let manner = manner(self.rule_set.request.enforce);
        header::write(f, self.rule_set, "sudo sh FILE", &manner, Place::Head)?;
        self.write_notes(f)?;
        self.write_opening(f)?;
        for (base, blocks) in &self.chains {
            writeln!(f, "\n# {}", words::hook(*base))?;
            blocks.iter().try_for_each(|block| write_block(f, block))?;
        }
        writeln!(f, "\n# What is no more\nforget \"$mark\"")?;
        self.write_defaults(f)
    }
}

const fn manner(enforce: bool) -> Manner {
    if enforce {
        return Manner(&["Enforcing: its last lines have ufw refuse what no rule allows."]);
    }
    Manner(&[
        "These lines only allow. What ufw refuses are its defaults (ufw status verbose); --enforce sets",
        "them.",
    ])
}

/// What to know about ufw, and what it cannot say.
impl Script<'_> {
    fn write_notes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let for_port_0 = for_port_0(self.rule_set);
        if for_port_0 > 0 {
            let rules = count_of(for_port_0, "rule");
            writeln!(f, "# Left out: port 0 of {rules}, which ufw does not take.")?;
        }
        f.write_str(
            "#\n\
             # Run it again, and nothing changes. It takes away what an earlier file of conntrack added and this\n\
             # one does not have; `sh FILE delete` takes away all of it. Other rules stay.\n\
             # It does not enable ufw. `ufw enable` does; before that, have a way back:\n\
             #   systemd-run --on-active=2min ufw disable\n\
             #\n\
             # What ufw cannot say:\n",
        )?;
        let rules = count_of(self.rules(), "rule");
        writeln!(
            f,
            "# - Sets: INTERNET is a rule for each of its networks. This file makes {rules}."
        )?;
        f.write_str(
            "# - Learning: what it would refuse is neither counted nor remembered, and a rule has no counter.\n\
             #   The formats nftables and iptables have that.\n\
             # - Helpers for FTP and TFTP: their data connections have rules, as with --no-helpers.\n\
             # - ICMP: what /etc/ufw/before.rules has of it holds; outgoing ping over IPv4 is not there.\n",
        )?;
        if self.rule_set.filters(BaseChain::Forward) {
            f.write_str(
                "# - That this host routes: /etc/ufw/sysctl.conf has net/ipv4/ip_forward.\n",
            )?;
        }
        Ok(())
    }

    /// How many rules ufw has with it.
    fn rules(&self) -> usize {
        let rules = |block: &Block| {
            let networks = block.for_internet.map(|version| internet(self.rule_set, version).len());
            block.lines.len() * networks.unwrap_or(1)
        };
        self.blocks().map(rules).sum()
    }

    /// FNV-1a of its lines: another file has another one.
    fn mark(&self) -> u32 {
        let octets = self.blocks().flat_map(|block| &block.lines).flat_map(|line| line.bytes());
        octets.fold(0x811c_9dc5, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193))
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.chains.iter().flat_map(|(_, blocks)| blocks)
    }

    fn all_rules(&self) -> impl Iterator<Item = &Rule> {
        self.rule_set.chains.iter().flat_map(|chain| &chain.rules)
    }
}

/// What the script does before its rules and behind them.
impl Script<'_> {
    fn write_opening(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments = if self.rule_set.locks_out() { "delete|without-ssh" } else { "delete" };
        write!(f, "\nset -eu\nmark='conntrack {:08x}'\n", self.mark())?;
        write!(f, "{}{}", shell::REQUIRES_UFW, shell::FORGET)?;
        writeln!(f, "\ncase ${{1-}} in\n'') ;;")?;
        if self.rule_set.locks_out() {
            writeln!(f, "without-ssh) ;;")?;
        }
        writeln!(f, "delete)\n    forget ''\n    exit\n    ;;")?;
        writeln!(f, "*)\n    echo \"usage: sh $0 [{arguments}]\" >&2\n    exit 2\n    ;;\nesac")?;
        if self.rule_set.locks_out() {
            f.write_str(shell::REQUIRES_SSH)?;
        }
        if self.all_rules().any(|rule| rule.version == IpVersion::V6) {
            f.write_str(shell::REQUIRES_IPV6)?;
        }
        let is_used =
            |version: &IpVersion| self.blocks().any(|it| it.for_internet == Some(*version));
        for version in VERSIONS.into_iter().filter(is_used) {
            let networks = internet(self.rule_set, version).join(" ");
            write!(f, "\n{}='{networks}'\n", variable(version))?;
        }
        Ok(())
    }

    /// Until these lines nothing is refused that was not refused before.
    fn write_defaults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.rule_set.request.enforce || self.chains.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n# What no rule allows")?;
        for (base, _) in &self.chains {
            let direction = match base {
                BaseChain::Input => "incoming",
                BaseChain::Output => "outgoing",
                BaseChain::Forward => "routed",
            };
            writeln!(f, "ufw default deny {direction}")?;
        }
        Ok(())
    }
}

fn write_block(f: &mut fmt::Formatter<'_>, block: &Block) -> fmt::Result {
    let Some(version) = block.for_internet else {
        return block.lines.iter().try_for_each(|line| writeln!(f, "{line}"));
    };
    writeln!(f, "for net in ${}; do", variable(version))?;
    block.lines.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
    writeln!(f, "done")
}

const fn variable(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "internet_v4",
        IpVersion::V6 => "internet_v6",
    }
}
