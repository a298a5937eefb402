//! iptables: one file for both `iptables-restore --noflush` and `ip6tables-restore --noflush`; each skips
//! the lines of the other, which have `-4` or `-6`. Chains of our own, to which the built-in ones jump.
//! They only ever drop a packet or hand it back (`RETURN`): what the host's own rules refuse stays
//! refused. Knows nothing of how rules are made.

use std::{collections::BTreeSet, fmt};

use ipnet::IpNet;

use super::{
    header,
    words::{self, Closing},
};
use crate::{
    connection::IpVersion,
    rules::{
        addresses::{AddressSet, Interval},
        answers::{DHCP_CLIENT, DHCP_SERVER, GroupRequests},
        data::Helper,
        essentials::{DHCPV6, Dhcpv6, ESSENTIALS, Essential, Icmp},
        rule_set::RuleSet,
        vocabulary::{BaseChain, Chain, PortRange, Rule, Side},
    },
};

/// Addresses in one line; iptables makes a rule of each.
const ADDRESSES_IN_LINE: usize = 8;
/// What the multiport match takes; a range counts as two.
const PORTS_IN_LINE: usize = 15;

const VERSIONS: [IpVersion; 2] = [IpVersion::V4, IpVersion::V6];

/// A rule set as a file.
pub struct File<'a>(pub &'a RuleSet);

impl fmt::Display for File<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        header::write(f, self.0, "the commands below, not without --noflush")?;
        self.write_commands(f)?;
        self.write_helpers(f)?;
        writeln!(f, "\n*filter")?;
        for chain in BaseChain::ALL.into_iter().flat_map(own_chains) {
            writeln!(f, ":{chain} - [0:0]")?;
        }
        for chain in &self.0.chains {
            self.write_chain(f, chain)?;
        }
        writeln!(f, "COMMIT")
    }
}

impl File<'_> {
    /// Data connections become related to their control connection. The table of helpers is read before
    /// packets get to a chain of the others.
    fn write_helpers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_used = |helper: &Helper| self.0.helpers.iter().any(|(it, _)| it == helper);
        let helpers: Vec<_> = Helper::ALL.into_iter().filter(is_used).collect();
        if helpers.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n*raw\n:{HELPERS_CHAIN} - [0:0]")?;
        for helper in helpers {
            let (protocol, port) = helper.control();
            let protocol = words::protocol(protocol);
            let name = helper.name();
            writeln!(f, "-A {HELPERS_CHAIN} -p {protocol} --dport {port} -j CT --helper {name}")?;
        }
        writeln!(f, "COMMIT")
    }
}

/// Commands of the header: they are what follows three spaces.
impl File<'_> {
    fn write_commands(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Other rules stay as they are, and judge what is accepted here.")?;
        writeln!(f, "# To load them, as root, now and whenever they have changed:")?;
        write_command(f, "$i-restore --noflush FILE")?;
        let helpers = HELPERS.iter().filter(|_| !self.0.helpers.is_empty()).copied();
        let jumps = self.0.chains.iter().map(|chain| Jump::of(chain.base)).chain(helpers);
        for Jump { table, from, to } in jumps {
            let jump = format!("{from} -j {to}");
            let options = format!("-t {table}");
            write_command(
                f,
                &format!("$i {options} -C {jump} 2>/dev/null || $i {options} -I {jump}"),
            )?;
        }
        writeln!(f, "# To take them away:")?;
        for Jump { table, from, to } in BaseChain::ALL.map(Jump::of).into_iter().chain(HELPERS) {
            let command = format!("$i -t {table} -D {from} -j {to} 2>/dev/null");
            write_command(f, &format!("while {command}; do :; done"))?;
        }
        let chains: Vec<_> = BaseChain::ALL.into_iter().flat_map(own_chains).collect();
        for (table, chains) in [("filter", chains.join(" ")), ("raw", HELPERS_CHAIN.to_owned())] {
            for verb in ["-F", "-X"] {
                let command = format!("$i -t {table} {verb} $c 2>/dev/null || :");
                write_command(f, &format!("for c in {chains}; do {command}; done"))?;
            }
        }
        Ok(())
    }
}

/// One for both families; that something is not there is no failure.
fn write_command(f: &mut fmt::Formatter<'_>, command: &str) -> fmt::Result {
    writeln!(f, "#   for i in iptables ip6tables; do {command}; done")
}

/// From a built-in chain to one of ours.
#[derive(Clone, Copy)]
struct Jump {
    table: &'static str,
    from: &'static str,
    to: &'static str,
}

impl Jump {
    const fn of(base: BaseChain) -> Self {
        Self { table: "filter", from: built_in(base), to: own(base) }
    }
}

/// Where new connections come by, in both directions.
const HELPERS: [Jump; 2] = [
    Jump { table: "raw", from: "PREROUTING", to: HELPERS_CHAIN },
    Jump { table: "raw", from: "OUTPUT", to: HELPERS_CHAIN },
];
const HELPERS_CHAIN: &str = "conntrack-helpers";

impl File<'_> {
    fn write_chain(&self, f: &mut fmt::Formatter<'_>, chain: &Chain) -> fmt::Result {
        let name = own(chain.base);
        writeln!(f)?;
        self.write_opening(f, chain.base)?;
        for rule in chain.rules.iter().filter(|rule| End::internet(rule).is_none()) {
            write_rule(f, name, rule)?;
        }
        let ends = End::ALL.into_iter().filter(|end| end.has_rules(chain));
        for end in ends.clone() {
            self.write_internet(f, chain.base, end)?;
        }
        writeln!(f, "-A {name} -g {}", rest(chain.base))?;
        for end in ends {
            let name = end.chain(chain.base);
            for rule in chain.rules.iter().filter(|rule| End::internet(rule) == Some(end)) {
                write_rule(f, &name, rule)?;
            }
            writeln!(f, "-A {name} -g {}", rest(chain.base))?;
        }
        write_closing(f, chain.base, self.0.request.enforce)
    }

    /// Before the rules: traffic that is not judged, and packets of connections that are open.
    fn write_opening(&self, f: &mut fmt::Formatter<'_>, base: BaseChain) -> fmt::Result {
        let name = own(base);
        let request = &self.0.request;
        if let Some(device) = &request.device {
            writeln!(f, "-A {name} {} -j RETURN", other_devices(base, device))?;
        }
        match base {
            BaseChain::Input => writeln!(f, "-A {name} -i lo -j RETURN")?,
            BaseChain::Output => writeln!(f, "-A {name} -o lo -j RETURN")?,
            BaseChain::Forward => {}
        }
        let invalid = if request.enforce { "DROP" } else { "RETURN" };
        writeln!(f, "-A {name} -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN")?;
        writeln!(f, "-A {name} -m conntrack --ctstate INVALID -j {invalid}")?;
        ESSENTIALS.iter().try_for_each(|it| write_essential(f, name, it))?;
        write_dhcpv6(f, base)?;
        self.0.answered_requests().try_for_each(|requests| write_answers(f, base, requests))
    }

    /// Packets with this end in the internet have a chain of their own. They go there (`-g`), so that its
    /// `RETURN` hands them back to the built-in chain.
    fn write_internet(&self, f: &mut fmt::Formatter<'_>, base: BaseChain, end: End) -> fmt::Result {
        let is_used = |version: &IpVersion| self.0.uses(&Side::Internet, *version);
        for version in VERSIONS.into_iter().filter(is_used) {
            for interval in self.0.internet(version).intervals() {
                let option = option(version);
                let addresses = end.matching(interval);
                writeln!(f, "-A {} {option} {addresses} -g {}", own(base), end.chain(base))?;
            }
        }
        Ok(())
    }
}

/// One end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Source,
    Destination,
}

impl End {
    const ALL: [Self; 2] = [Self::Source, Self::Destination];

    /// The end of a rule that is the internet.
    fn internet(rule: &Rule) -> Option<Self> {
        Self::ALL.into_iter().find(|end| end.side(rule) == &Side::Internet)
    }

    const fn side(self, rule: &Rule) -> &Side {
        match self {
            Self::Source => &rule.source,
            Self::Destination => &rule.destination,
        }
    }

    fn has_rules(self, chain: &Chain) -> bool {
        chain.rules.iter().any(|rule| Self::internet(rule) == Some(self))
    }

    /// The chain for packets that have this end in the internet; iptables takes 28 characters.
    fn chain(self, base: BaseChain) -> String {
        match self {
            Self::Source => format!("{}-from-inet", own(base)),
            Self::Destination => format!("{}-to-inet", own(base)),
        }
    }

    fn matching(self, interval: Interval) -> String {
        let (flag, range) = match self {
            Self::Source => ("-s", "--src-range"),
            Self::Destination => ("-d", "--dst-range"),
        };
        match interval.network() {
            Some(_) => format!("{flag} {interval}"),
            None => format!("-m iprange {range} {interval}"),
        }
    }

    /// This end of a rule as matches, one for each line. Any needs none, and the internet is a chain.
    fn matches(self, rule: &Rule) -> Vec<String> {
        match self.side(rule).intervals() {
            Some(intervals) => self.lines(intervals),
            None => vec![String::new()],
        }
    }

    fn lines(self, intervals: Vec<Interval>) -> Vec<String> {
        let (networks, ranges): (Vec<_>, Vec<_>) =
            intervals.into_iter().partition(|it| it.network().is_some());
        let flag = if self == Self::Source { "-s" } else { "-d" };
        let networks = networks.chunks(ADDRESSES_IN_LINE).map(|line| {
            let line: Vec<_> = line.iter().map(ToString::to_string).collect();
            format!(" {flag} {}", line.join(","))
        });
        let ranges = ranges.iter().map(|range| format!(" {}", self.matching(*range)));
        networks.chain(ranges).collect()
    }

    /// These networks at this end, one match for each line; none if there are none.
    fn among(self, networks: &BTreeSet<IpNet>) -> Vec<String> {
        self.lines(AddressSet::of(networks.iter().copied()).intervals().collect())
    }
}

fn write_essential(f: &mut fmt::Formatter<'_>, name: &str, essential: &Essential) -> fmt::Result {
    let (matching, messages) = match essential {
        Essential::Igmp => return writeln!(f, "-A {name} -4 -p igmp -j RETURN"),
        Essential::IcmpV4(messages) => ("-4 -p icmp -m icmp --icmp-type", messages),
        Essential::IcmpV6(messages) => ("-6 -p ipv6-icmp -m icmp6 --icmpv6-type", messages),
    };
    messages.iter().try_for_each(|message| {
        writeln!(f, "-A {name} {matching} {} -j RETURN", icmp_type(*message))
    })
}

fn write_dhcpv6(f: &mut fmt::Formatter<'_>, base: BaseChain) -> fmt::Result {
    let Dhcpv6 { network, client, server } = DHCPV6;
    let (from, to) = match base {
        BaseChain::Input => (server, client),
        BaseChain::Output => (client, server),
        BaseChain::Forward => return Ok(()),
    };
    let name = own(base);
    writeln!(f, "-A {name} -6 -s {network} -p udp -m udp --sport {from} --dport {to} -j RETURN")
}

/// iptables cannot remember who was asked: answers come from where they seem to have come from.
fn write_answers(
    f: &mut fmt::Formatter<'_>,
    base: BaseChain,
    GroupRequests { version, asked, served }: &GroupRequests,
) -> fmt::Result {
    let start = format!("-A {} {} -p udp", own(base), option(*version));
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

/// Packets that no rule accepts: logged up to a limit, counted, and dropped or handed back.
fn write_closing(f: &mut fmt::Formatter<'_>, base: BaseChain, enforce: bool) -> fmt::Result {
    let name = rest(base);
    let Closing { log, count } = Closing::of(enforce);
    // iptables takes 29 characters.
    let prefix = format_args!("conntrack {log} {} ", words::hook(base));
    let limit = "-m limit --limit 10/minute --limit-burst 20";
    let verdict = if enforce { "DROP" } else { "RETURN" };
    writeln!(f, "-A {name} {limit} -j LOG --log-prefix \"{prefix}\"")?;
    writeln!(f, "-A {name} -m comment --comment \"{count}\" -j {verdict}")
}

/// One line, or more where a line cannot hold it.
fn write_rule(f: &mut fmt::Formatter<'_>, chain: &str, rule: &Rule) -> fmt::Result {
    let sources = End::Source.matches(rule);
    let destinations = End::Destination.matches(rule);
    let protocol = words::protocol(rule.protocol);
    let version = option(rule.version);
    let comment = words::comment(rule);
    for source in &sources {
        for destination in &destinations {
            for ports in ports(&rule.ports) {
                writeln!(
                    f,
                    "-A {chain} {version}{source}{destination} -p {protocol} {ports} \
                     -m comment --comment \"{comment}\" -j RETURN"
                )?;
            }
        }
    }
    Ok(())
}

/// Ports as matches, one for each line.
fn ports(ranges: &[PortRange]) -> Vec<String> {
    if let [range] = ranges {
        return vec![format!("--dport {}", range.text(":"))];
    }
    let mut lines = Vec::new();
    let mut rest = ranges;
    while !rest.is_empty() {
        let (line, later) = rest.split_at(in_one_line(rest));
        let ports: Vec<_> = line.iter().map(|range| range.text(":")).collect();
        lines.push(format!("-m multiport --dports {}", ports.join(",")));
        rest = later;
    }
    lines
}

/// How many of these ranges the multiport match takes.
fn in_one_line(ranges: &[PortRange]) -> usize {
    let taken = ranges.iter().scan(0, |taken, range| {
        *taken += if range.first == range.last { 1 } else { 2 };
        Some(*taken)
    });
    taken.take_while(|taken| *taken <= PORTS_IN_LINE).count()
}

fn other_devices(base: BaseChain, device: &str) -> String {
    match base {
        BaseChain::Input => format!("! -i {device}"),
        BaseChain::Output => format!("! -o {device}"),
        BaseChain::Forward => format!("! -i {device} ! -o {device}"),
    }
}

const fn built_in(base: BaseChain) -> &'static str {
    match base {
        BaseChain::Input => "INPUT",
        BaseChain::Output => "OUTPUT",
        BaseChain::Forward => "FORWARD",
    }
}

/// The chain that a built-in one jumps to.
const fn own(base: BaseChain) -> &'static str {
    match base {
        BaseChain::Input => "conntrack-input",
        BaseChain::Output => "conntrack-output",
        BaseChain::Forward => "conntrack-forward",
    }
}

/// The chain of packets that no rule accepts.
fn rest(base: BaseChain) -> String {
    format!("{}-rest", own(base))
}

/// All chains that a built-in one may lead to, from the first to the last.
fn own_chains(base: BaseChain) -> impl Iterator<Item = String> {
    let ends = match base {
        BaseChain::Input => &[End::Source][..],
        BaseChain::Output => &[End::Destination],
        BaseChain::Forward => &End::ALL,
    };
    let ends = ends.iter().map(move |end| end.chain(base));
    [own(base).to_owned()].into_iter().chain(ends).chain([rest(base)])
}

const fn option(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "-4",
        IpVersion::V6 => "-6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_counts_as_two_ports() {
        let range = |first| PortRange { first, last: first + 1 };
        let ranges: Vec<_> = (0..9).map(|number| range(number * 10)).collect();
        let lines = ports(&ranges);
        let counts: Vec<_> = lines.iter().map(|line| line.matches(':').count()).collect();
        assert_eq!(counts, [7, 2]);
        assert_eq!(ports(&ranges[..1]), ["--dport 0:1"]);
    }

    #[test]
    fn names_of_chains_are_not_too_long_for_iptables() {
        for name in BaseChain::ALL.into_iter().flat_map(own_chains) {
            assert!(name.len() <= 28, "{name}");
        }
    }
}
