//! Traffic that no rule of a recorded connection accepts: ICMP, `DHCPv6`, what helpers let through, answers
//! to multicast and broadcast.

use std::{fmt, net::SocketAddr};

use super::{
    ends::{End, option},
    places::{HELPERS_CHAIN, Own, RAW},
};
use crate::{
    print::words,
    rules::{
        addresses::version,
        answers::{DHCP_CLIENT, DHCP_SERVER, GroupRequests},
        data::Helper,
        essentials::{DHCPV6, Dhcpv6, Essential, Icmp},
        rule_set::RuleSet,
        vocabulary::{BaseChain, PortRange},
    },
};

/// Data connections become related to their control connection. The table of helpers is read before
/// packets get to a chain of the others.
pub(super) fn write_helpers(f: &mut fmt::Formatter<'_>, rule_set: &RuleSet) -> fmt::Result {
    let is_used = |helper: &Helper| rule_set.helpers.iter().any(|(it, _)| it == helper);
    let helpers: Vec<_> = Helper::ALL.into_iter().filter(is_used).collect();
    if helpers.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n*{RAW}\n:{HELPERS_CHAIN} - [0:0]")?;
    for helper in helpers {
        let (protocol, port) = helper.control();
        let protocol = words::protocol(protocol);
        let name = helper.name();
        writeln!(f, "-A {HELPERS_CHAIN} -p {protocol} --dport {port} -j CT --helper {name}")?;
    }
    writeln!(f, "COMMIT")
}

pub(super) fn write_essential(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    essential: &Essential,
) -> fmt::Result {
    let (matching, messages) = match essential {
        Essential::Igmp => return writeln!(f, "-A {name} -4 -p igmp -j RETURN"),
        Essential::IcmpV4(messages) => ("-4 -p icmp -m icmp --icmp-type", messages),
        Essential::IcmpV6(messages) => ("-6 -p ipv6-icmp -m icmp6 --icmpv6-type", messages),
    };
    messages.iter().try_for_each(|message| {
        writeln!(f, "-A {name} {matching} {} -j RETURN", icmp_type(*message))
    })
}

pub(super) fn write_dhcpv6(f: &mut fmt::Formatter<'_>, base: BaseChain) -> fmt::Result {
    let Dhcpv6 { network, client, server } = DHCPV6;
    let (from, to) = match base {
        BaseChain::Input => (server, client),
        BaseChain::Output => (client, server),
        BaseChain::Forward => return Ok(()),
    };
    let name = Own::of(base).name();
    writeln!(f, "-A {name} -6 -s {network} -p udp -m udp --sport {from} --dport {to} -j RETURN")
}

/// What is sent to many, and a program here takes.
pub(super) fn write_joined(f: &mut fmt::Formatter<'_>, group: &SocketAddr) -> fmt::Result {
    let (name, address, port) = (Own::Input.name(), group.ip(), group.port());
    let option = option(version(address));
    let comment = words::JOINED;
    writeln!(
        f,
        "-A {name} {option} -d {address} -p udp -m udp --dport {port} \
         -m comment --comment \"{comment}\" -j RETURN"
    )
}

/// iptables cannot remember who was asked: answers come from where they seem to have come from.
pub(super) fn write_answers(
    f: &mut fmt::Formatter<'_>,
    base: BaseChain,
    GroupRequests { version, asked, served }: &GroupRequests,
) -> fmt::Result {
    let start = format!("-A {} {} -p udp", Own::of(base).name(), option(*version));
    let comment = "-m comment --comment \"answers to multicast and broadcast\" -j RETURN";
    if base == BaseChain::Input {
        let ephemeral = asked.ephemeral.map(|range| range.text(":")).unwrap_or_default();
        for from in End::Source.among(&asked.answered_by) {
            for to in End::Destination.among(&asked.locals) {
                for ports in source_ports(&asked.ports) {
                    writeln!(f, "{start}{from}{to} {ports} --dport {ephemeral} {comment}")?;
                }
            }
        }
    } else if base == BaseChain::Output {
        for to in End::Destination.among(&served.by) {
            for ports in source_ports(&served.ports) {
                writeln!(f, "{start}{to} {ports} {comment}")?;
            }
        }
    }
    let (from, to) = match base {
        BaseChain::Input if served.has_dhcp => (DHCP_CLIENT, DHCP_SERVER),
        BaseChain::Output if served.has_dhcp => (DHCP_SERVER, DHCP_CLIENT),
        _ => return Ok(()),
    };
    writeln!(f, "{start} -m udp --sport {from} --dport {to} -j RETURN")
}

/// Source ports as matches, one for each range.
fn source_ports(ranges: &[PortRange]) -> impl Iterator<Item = String> {
    ranges.iter().map(|range| format!("-m udp --sport {}", range.text(":")))
}

/// Multicast listener discovery has no names here.
const fn icmp_type(message: Icmp) -> &'static str {
    match message {
        Icmp::DestinationUnreachable => "destination-unreachable",
        Icmp::PacketTooBig => "packet-too-big",
        Icmp::TimeExceeded => "time-exceeded",
        Icmp::ParameterProblem => "parameter-problem",
        Icmp::EchoRequest => "echo-request",
        Icmp::RouterSolicitation => "router-solicitation",
        Icmp::RouterAdvertisement => "router-advertisement",
        Icmp::NeighborSolicitation => "neighbour-solicitation",
        Icmp::NeighborAdvertisement => "neighbour-advertisement",
        Icmp::ListenerQuery => "130",
        Icmp::ListenerReport => "131",
        Icmp::ListenerDone => "132",
        Icmp::ListenerReportV2 => "143",
    }
}
