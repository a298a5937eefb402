//! firewalld: a script for sh(1) that writes policies and sets into `/etc/firewalld`. Policies stand before zones and
//! take no device away from one. Knows nothing of how rules are made.

mod elements;
mod shell;

use std::fmt;

use self::elements::{ABOUT, RichRule, Sets, address, comment, policy, rich_rules};
use super::{
    header::{self, Manner, Place},
    networks::for_port_0,
    words::{self, count_of},
};
use crate::{
    connection::IpVersion,
    rules::{
        answers::{DHCP_CLIENT, DHCP_SERVER},
        essentials::{DHCPV6, Dhcpv6, ESSENTIALS, Essential, Icmp},
        rule_set::RuleSet,
        vocabulary::{BaseChain, Chain},
    },
};

/// Before the policies of others, which have -1 unless somebody says otherwise, and behind firewalld's own.
const PRIORITY: i32 = -100;

/// A line that no file has.
const END: &str = "CONNTRACK_END";

/// A rule set as a script.
pub struct Script<'a> {
    rule_set: &'a RuleSet,
    sets: Sets,
    policies: Vec<(BaseChain, String)>,
}

impl<'a> Script<'a> {
    /// The script for a rule set.
    pub fn of(rule_set: &'a RuleSet) -> Self {
        let mut sets = Sets::default();
        let chains = rule_set.chains.iter();
        let policies = chains.map(|it| (it.base, policy_of(rule_set, it, &mut sets))).collect();
        Self { rule_set, sets, policies }
    }
}

impl fmt::Display for Script<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule_set, sets, policies } = self;
        writeln!(f, "#!/bin/sh")?;
        let manner = manner(rule_set.request.enforce);
        header::write(f, rule_set, "sudo sh FILE", &manner, Place::Head)?;
        self.write_notes(f)?;
        f.write_str(shell::OPENING)?;
        if rule_set.locks_out() {
            f.write_str(shell::REQUIRES_SSH)?;
        }
        f.write_str(shell::BEFORE_FILES)?;
        for (name, set) in sets.files() {
            write_file(f, &format!("ipsets/{name}"), &set)?;
        }
        for (base, text) in policies {
            write_file(f, &format!("policies/conntrack-{}", policy(*base)), text)?;
        }
        f.write_str(shell::BEHIND_FILES)
    }
}

const fn manner(enforce: bool) -> Manner {
    if enforce {
        return Manner(&[
            "Enforcing: what no rule accepts is dropped, before it gets to a zone.",
            "firewall-cmd --set-log-denied=all logs it.",
        ]);
    }
    Manner(&[
        "These rules only accept. What they do not accept goes on to the zones, which refuse as they did;",
        "--enforce drops it.",
    ])
}

impl Script<'_> {
    fn write_notes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let for_port_0 = for_port_0(self.rule_set);
        if for_port_0 > 0 {
            let rules = count_of(for_port_0, "rule");
            writeln!(f, "# Left out: port 0 of {rules}, which firewalld does not take.")?;
        }
        f.write_str(
            "#\n\
             # It writes policies and ipsets called conntrack-… into /etc/firewalld, or the directory that is named,\n\
             # and takes away those that are no more; `sh FILE delete` takes away all. Other files stay.\n\
             # Nothing is in force before `firewall-cmd --reload`. Have a way back:\n\
             #   systemd-run --on-active=2min sh -c 'sh /path/to/FILE delete && firewall-cmd --reload'\n\
             # It is for firewalld 1.0 and later.\n\
             #\n\
             # What firewalld cannot say:\n\
             # - Learning: what it would refuse is neither counted nor remembered, and a rule has no counter.\n\
             #   The formats nftables and iptables have that.\n\
             # - Some messages of ICMPv6: all of it is accepted.\n\
             # - Helpers for FTP and TFTP are for zones: their data connections have rules, as with --no-helpers.\n",
        )?;
        if self.has_answers() {
            f.write_str(
                "# - Both ports of a packet: answers to what this host asks by multicast or broadcast have no rule.\n",
            )?;
        }
        Ok(())
    }

    fn has_answers(&self) -> bool {
        self.rule_set.answered_requests().any(|it| !it.asked.answered_by.is_empty())
    }
}

/// A here-document, in which nothing is expanded.
fn write_file(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    let prolog = "<?xml version=\"1.0\" encoding=\"utf-8\"?>";
    write!(f, "\ncat >\"$new/{name}.xml\" <<'{END}'\n{prolog}\n{text}{END}\n")
}

fn policy_of(rule_set: &RuleSet, chain: &Chain, sets: &mut Sets) -> String {
    let target = if rule_set.request.enforce { "DROP" } else { "CONTINUE" };
    let (ingress, egress) = match chain.base {
        BaseChain::Input => ("ANY", "HOST"),
        BaseChain::Output => ("HOST", "ANY"),
        BaseChain::Forward => ("ANY", "ANY"),
    };
    let mut text = format!(
        "<policy priority=\"{PRIORITY}\" target=\"{target}\">\n{ABOUT}  \
         <ingress-zone name=\"{ingress}\"/>\n  <egress-zone name=\"{egress}\"/>\n"
    );
    for rule in &chain.rules {
        text += &comment(&words::comment(rule));
        text.extend(rich_rules(rule_set, chain.base, rule, sets).iter().map(RichRule::to_string));
    }
    text += &comment("what every host needs");
    text.extend(besides(rule_set, chain.base).iter().map(RichRule::to_string));
    text + "</policy>\n"
}

/// What no connection of the tree shows.
fn besides(rule_set: &RuleSet, base: BaseChain) -> Vec<RichRule> {
    let plain = |version, what| RichRule { version, ends: String::new(), what };
    let mut rules = Vec::new();
    for essential in ESSENTIALS {
        match essential {
            Essential::Igmp => rules.push(plain(IpVersion::V4, protocol("igmp"))),
            Essential::IcmpV4(messages) => rules.extend(
                messages.iter().filter_map(|it| Some(plain(IpVersion::V4, icmp_type(*it)?))),
            ),
            // Before 2.1 firewalld has no names for multicast listeners.
            Essential::IcmpV6(_) => {}
        }
    }
    rules.push(plain(IpVersion::V6, protocol("ipv6-icmp")));
    if base != BaseChain::Forward {
        rules.extend(dhcp(rule_set, base));
        rules.extend(answers(rule_set, base));
    }
    rules
}

fn protocol(name: &str) -> String {
    format!("<protocol value=\"{name}\"/>")
}

/// Those of ICMP for IPv4.
fn icmp_type(message: Icmp) -> Option<String> {
    let name = match message {
        Icmp::DestinationUnreachable => "destination-unreachable",
        Icmp::TimeExceeded => "time-exceeded",
        Icmp::ParameterProblem => "parameter-problem",
        Icmp::EchoRequest => "echo-request",
        _ => return None,
    };
    Some(format!("<icmp-type name=\"{name}\"/>"))
}

fn udp(port: u16) -> String {
    format!("<port protocol=\"udp\" port=\"{port}\"/>")
}

fn dhcp(rule_set: &RuleSet, base: BaseChain) -> Vec<RichRule> {
    let is_arriving = base == BaseChain::Input;
    let Dhcpv6 { network, client, server } = DHCPV6;
    let port = if is_arriving { client } else { server };
    let ends = address("source", network);
    let mut rules = vec![RichRule { version: IpVersion::V6, ends, what: udp(port) }];
    if rule_set.answered_requests().any(|it| it.served.has_dhcp) {
        let port = if is_arriving { DHCP_SERVER } else { DHCP_CLIENT };
        rules.push(RichRule { version: IpVersion::V4, ends: String::new(), what: udp(port) });
    }
    rules
}

/// What this host answers to requests by multicast and broadcast, from its port.
fn answers(rule_set: &RuleSet, base: BaseChain) -> Vec<RichRule> {
    let mut rules = Vec::new();
    if base != BaseChain::Output {
        return rules;
    }
    for requests in rule_set.answered_requests() {
        for network in &requests.served.by {
            for range in super::networks::without_0(&requests.served.ports) {
                let port = range.text("-");
                let ends = address("destination", &network.to_string());
                let what = format!("<source-port protocol=\"udp\" port=\"{port}\"/>");
                rules.push(RichRule { version: requests.version, ends, what });
            }
        }
    }
    rules
}
