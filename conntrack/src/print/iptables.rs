//! iptables: one file for both `iptables-restore --noflush` and `ip6tables-restore --noflush`; each skips
//! the lines of the other, which have `-4` or `-6`. Chains of our own, to which the built-in ones jump.
//! They only ever drop a packet or hand it back (`RETURN`): what the host's own rules refuse stays
//! refused. Knows nothing of how rules are made.

mod commands;
mod ends;
mod places;
pub(crate) mod sets;
mod unrecorded;

use std::fmt;

use self::{
    ends::{End, option},
    places::{FILTER, Jump, Own, chains, gate, rest},
};
use super::{
    header::{self, Manner, Place},
    multiport,
    words::{self, Closing},
};
use crate::{
    connection::IpVersion,
    rules::{
        essentials::ESSENTIALS,
        rule_set::RuleSet,
        vocabulary::{BaseChain, PortRange, Request, Rule, Side, Standing},
    },
};

const VERSIONS: [IpVersion; 2] = [IpVersion::V4, IpVersion::V6];

/// A rule set as a file.
pub struct File<'a>(pub &'a RuleSet);

impl fmt::Display for File<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let judged = self.judged();
        let standing = self.0.request.standing;
        let jump = if self.is_of_several() { Jump::of_devices } else { Jump::of };
        let jumps: Vec<_> = judged.iter().map(|it| jump(it.base, standing)).collect();
        let load = "the commands below, not without --noflush";
        header::write(f, self.0, load, &Manner::counting(self.0.request.enforce), Place::Beside)?;
        self.write_notes(f)?;
        commands::write(f, self.0, &jumps)?;
        unrecorded::write_helpers(f, self.0)?;
        let mut tables: Vec<_> = jumps.iter().map(|jump| jump.table).chain([FILTER]).collect();
        tables.sort_unstable();
        tables.dedup();
        tables.into_iter().try_for_each(|table| self.write_table(f, table, &judged))?;
        if self.0.request.ipset {
            let bases: Vec<_> = judged.iter().map(|it| it.base).collect();
            let parts: Vec<_> = judged.into_iter().flat_map(|it| it.parts).collect();
            sets::write(f, &bases, &parts)?;
        }
        Ok(())
    }
}

const SOURCES_ARE_NOT_SEEN: &str = "\
# What arrives is judged before its address is translated. iptables has nothing behind the translation of
# sources: what leaves is judged by where it goes, from whichever address of this host.";
const PASSING_IS_JUDGED: &str = "\
# What passes through may leave with an address of this host: it is accepted where this host goes, too.";
const PASSING_IS_NOT_JUDGED: &str = "\
# What passes through and leaves with an address of this host (masquerading) is not judged: that takes
# --forward, and a tree with else.";

/// What is judged on the way through a built-in chain.
struct Judged<'a> {
    base: BaseChain,
    /// Chains of ours, in the order in which packets get to them.
    parts: Vec<(Own, &'a [Rule])>,
}

impl<'a> File<'a> {
    /// At the wire, what passes through may leave as what was recorded of this host.
    fn judged(&self) -> Vec<Judged<'a>> {
        let chain = |base| self.0.chains.iter().find(move |chain| chain.base == base);
        let part = |base| chain(base).map(|it| (Own::of(base), it.rules.as_slice()));
        let passing = chain(BaseChain::Output).filter(|_| self.judges_what_passes());
        let passing = passing.map(|it| (Own::Passing, it.rules.as_slice()));
        let judged = BaseChain::ALL.into_iter().map(|base| Judged {
            base,
            parts: part(base)
                .into_iter()
                .chain(passing.filter(|_| base == BaseChain::Forward))
                .collect(),
        });
        judged.filter(|it| !it.parts.is_empty()).collect()
    }

    /// Where `else` was recorded, all that passes through and is not in it leaves as this host's.
    fn judges_what_passes(&self) -> bool {
        let flags = self.0.provenance.iter().flat_map(|it| &it.flags);
        let request = &self.0.request;
        let has_else = flags.into_iter().all(|flag| flag != "--skip-else");
        request.standing == Standing::Wire && request.forward && has_else
    }

    fn write_notes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = &self.0.request;
        let passes = match request.standing {
            Standing::Host => None,
            Standing::Wire if self.judges_what_passes() => Some(PASSING_IS_JUDGED),
            Standing::Wire => Some(PASSING_IS_NOT_JUDGED),
        };
        if let Some(passes) = passes {
            writeln!(f, "{SOURCES_ARE_NOT_SEEN}\n{passes}")?;
        }
        let listed = sets::listed(self.0.chains.iter().flat_map(|chain| &chain.rules));
        if listed > 0 && !request.ipset {
            writeln!(
                f,
                "# {listed} addresses and networks have lines of their own; --ipset makes sets of them."
            )?;
        }
        Ok(())
    }

    /// Chains that the rules no longer have are emptied.
    fn write_table(
        &self,
        f: &mut fmt::Formatter<'_>,
        table: &str,
        judged: &[Judged<'_>],
    ) -> fmt::Result {
        let standing = self.0.request.standing;
        writeln!(f, "\n*{table}")?;
        for base in BaseChain::ALL {
            let is_here = Jump::of(base, standing).table == table;
            if is_here || table == FILTER {
                chains(base, standing).try_for_each(|chain| writeln!(f, ":{chain} - [0:0]"))?;
            }
        }
        let is_here = |it: &&Judged<'_>| Jump::of(it.base, standing).table == table;
        judged.iter().filter(is_here).try_for_each(|it| self.write_judged(f, it))?;
        writeln!(f, "COMMIT")
    }

    fn write_judged(&self, f: &mut fmt::Formatter<'_>, judged: &Judged<'_>) -> fmt::Result {
        let base = judged.base;
        writeln!(f)?;
        if self.is_of_several() {
            self.write_gate(f, base)?;
        }
        self.write_opening(f, base, Own::of(base).name())?;
        let has_own = judged.parts.iter().any(|(own, _)| *own == Own::of(base));
        if !has_own {
            writeln!(f, "-A {} -g {}", Own::of(base).name(), Own::Passing.name())?;
        }
        for (index, (own, rules)) in judged.parts.iter().enumerate() {
            let next = judged.parts.get(index + 1).map(|(own, _)| own.name().to_owned());
            self.write_chain(f, *own, rules, &next.unwrap_or_else(|| rest(base)))?;
        }
        self.write_closing(f, base)
    }

    /// Rules; what none of them accepts goes to the next chain.
    fn write_chain(
        &self,
        f: &mut fmt::Formatter<'_>,
        own: Own,
        rules: &[Rule],
        next: &str,
    ) -> fmt::Result {
        let name = own.name();
        if let (Own::Passing, [device]) = (own, &self.0.request.devices[..]) {
            writeln!(f, "-A {name} ! -o {device} -g {next}")?;
        }
        for rule in rules.iter().filter(|rule| End::internet(rule).is_none()) {
            self.write_rule(f, own, name, rule)?;
        }
        let ends = End::ALL.into_iter().filter(|end| end.has_rules(rules));
        for end in ends.clone() {
            self.write_internet(f, own, end)?;
        }
        writeln!(f, "-A {name} -g {next}")?;
        for end in ends {
            let name = own.internet(end);
            for rule in rules.iter().filter(|rule| End::internet(rule) == Some(end)) {
                self.write_rule(f, own, &name, rule)?;
            }
            writeln!(f, "-A {name} -g {next}")?;
        }
        Ok(())
    }

    fn is_of_several(&self) -> bool {
        self.0.request.devices.len() > 1
    }

    /// Hands on what is of one of the devices: the match takes no more than one.
    fn write_gate(&self, f: &mut fmt::Formatter<'_>, base: BaseChain) -> fmt::Result {
        let sides: &[&str] = match base {
            BaseChain::Input => &["-i"],
            BaseChain::Forward if self.0.filters(base) => &["-i", "-o"],
            BaseChain::Output | BaseChain::Forward => &["-o"],
        };
        let name = Own::of(base).name();
        for device in &self.0.request.devices {
            for side in sides {
                writeln!(f, "-A {} {side} {device} -g {name}", gate(base))?;
            }
        }
        Ok(())
    }

    /// Before the rules: traffic that is not judged, and packets of connections that are open.
    fn write_opening(
        &self,
        f: &mut fmt::Formatter<'_>,
        base: BaseChain,
        name: &str,
    ) -> fmt::Result {
        let request = &self.0.request;
        if let [device] = &request.devices[..] {
            writeln!(f, "-A {name} {} -j RETURN", self.other_devices(base, device))?;
        }
        match base {
            BaseChain::Input => writeln!(f, "-A {name} -i lo -j RETURN")?,
            BaseChain::Output => writeln!(f, "-A {name} -o lo -j RETURN")?,
            BaseChain::Forward => {}
        }
        if request.standing == Standing::Wire
            && let Some(passing) = passing(base)
        {
            writeln!(f, "-A {name} {passing} -j RETURN")?;
        }
        let invalid = if request.enforce { "DROP" } else { "RETURN" };
        writeln!(f, "-A {name} -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN")?;
        writeln!(f, "-A {name} -m conntrack --ctstate INVALID -j {invalid}")?;
        ESSENTIALS.iter().try_for_each(|it| unrecorded::write_essential(f, name, it))?;
        unrecorded::write_dhcpv6(f, base)?;
        if base == BaseChain::Input {
            request.joined.iter().try_for_each(|it| unrecorded::write_joined(f, it))?;
        }
        let mut requests = self.0.answered_requests();
        requests.try_for_each(|requests| unrecorded::write_answers(f, base, requests))
    }

    /// Without a recording of others, what passes through is of interest where it leaves.
    fn other_devices(&self, base: BaseChain, device: &str) -> String {
        match base {
            BaseChain::Input => format!("! -i {device}"),
            BaseChain::Forward if self.0.filters(base) => format!("! -i {device} ! -o {device}"),
            BaseChain::Output | BaseChain::Forward => format!("! -o {device}"),
        }
    }

    /// Packets with this end in the internet have a chain of their own. They go there (`-g`), so that its
    /// `RETURN` hands them back to the built-in chain.
    fn write_internet(&self, f: &mut fmt::Formatter<'_>, own: Own, end: End) -> fmt::Result {
        let is_used = |version: &IpVersion| self.0.uses(&Side::Internet, *version);
        for version in VERSIONS.into_iter().filter(is_used) {
            for interval in self.0.internet(version).intervals() {
                let option = option(version);
                let addresses = end.matching(interval);
                writeln!(f, "-A {} {option} {addresses} -g {}", own.name(), own.internet(end))?;
            }
        }
        Ok(())
    }
}

/// What passes the place where a chain stands at the wire, and is another chain's matter. To ip6tables an
/// address of this host is a unicast address, too.
const fn passing(base: BaseChain) -> Option<&'static str> {
    match base {
        BaseChain::Input => Some(
            "-m addrtype ! --dst-type LOCAL -m addrtype ! --dst-type ANYCAST \
             -m addrtype --dst-type UNICAST",
        ),
        BaseChain::Output => None,
        BaseChain::Forward => Some("-m conntrack --ctstate DNAT"),
    }
}

impl File<'_> {
    /// Packets that no rule accepts: remembered, logged up to a limit, counted, and dropped or handed back.
    fn write_closing(&self, f: &mut fmt::Formatter<'_>, base: BaseChain) -> fmt::Result {
        let name = rest(base);
        let Request { enforce, ipset, .. } = self.0.request;
        let Closing { log, count } = Closing::of(enforce);
        // iptables takes 29 characters.
        let prefix = format_args!("conntrack {log} {} ", words::hook(base));
        let limit = "-m limit --limit 10/minute --limit-burst 20";
        let verdict = if enforce { "DROP" } else { "RETURN" };
        if ipset {
            sets::write_remembering(f, &name, base)?;
        }
        writeln!(f, "-A {name} {limit} -j LOG --log-prefix \"{prefix}\"")?;
        writeln!(f, "-A {name} -m comment --comment \"{count}\" -j {verdict}")
    }

    /// One line, or more where a line cannot hold it.
    fn write_rule(
        &self,
        f: &mut fmt::Formatter<'_>,
        own: Own,
        chain: &str,
        rule: &Rule,
    ) -> fmt::Result {
        let matches = |end: End| {
            let set = sets::matching(own, end, rule).filter(|_| self.0.request.ipset);
            set.map_or_else(|| end.matches(rule), |set| vec![set])
        };
        let (sources, destinations) = (matches(End::Source), matches(End::Destination));
        let protocol = words::protocol(rule.protocol);
        let version = option(rule.version);
        // Within quotation marks, iptables-restore takes a backslash for the sign before another one.
        let comment = words::comment(rule).replace('\\', "\\\\");
        // What passes has the rules of what leaves once more.
        let mut warnings = words::doubts(rule).filter(|_| own != Own::Passing);
        warnings.try_for_each(|it| writeln!(f, "# Warning: {it}"))?;
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
}

/// Ports as matches, one for each line.
fn ports(ranges: &[PortRange]) -> Vec<String> {
    if let [range] = ranges {
        return vec![format!("--dport {}", range.text(":"))];
    }
    let lists = multiport::lists(ranges);
    lists.iter().map(|list| format!("-m multiport --dports {list}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_needs_no_list() {
        let range = |first| PortRange { first, last: first };
        assert_eq!(ports(&[range(22)]), ["--dport 22"]);
        assert_eq!(ports(&[range(22), range(80)]), ["-m multiport --dports 22,80"]);
    }
}
