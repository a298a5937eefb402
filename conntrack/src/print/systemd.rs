//! A drop-in for a unit of systemd: the addresses that it may talk to, and the ports that it may bind to
//! (systemd.resource-control(5)). It says less than rules do, and never anything that was not recorded; what it
//! cannot say is told in it.

use std::{collections::BTreeSet, fmt};

use ipnet::IpNet;

use super::words::{self, count_of};
use crate::{
    connection::{IpVersion, Protocol},
    record::Record,
    rules::{
        addresses::{AddressSet, Interval},
        internet::folded_groups,
        rule_set::RuleSet,
        vocabulary::{BaseChain, Rule, Side},
    },
    unit::Unit,
    utc::Utc,
};

/// The one unit that is meant, of those that records name.
///
/// # Errors
/// That it is several, or none of systemd's system manager, in words.
pub fn one_unit(records: &[Record], typed: &[String]) -> Result<Unit, String> {
    let units = records.iter().flat_map(|record| record.units.iter());
    let meant: BTreeSet<_> =
        units.filter(|unit| typed.iter().any(|it| unit.is_meant_by(it))).collect();
    let names: Vec<_> = meant.iter().map(|unit| unit.as_str()).collect();
    match meant.first() {
        Some(unit) if names.len() == 1 && section(unit).is_some() => Ok((*unit).clone()),
        Some(unit) if names.len() == 1 => {
            Err(format!("{unit} is no unit of the system's systemd, so it takes no drop-in"))
        }
        _ => Err(format!("several units are called so, give one: {}", names.join(" "))),
    }
}

/// What the settings of a unit of this kind stand below.
fn section(unit: &Unit) -> Option<&'static str> {
    let (name, kind) = unit.as_str().rsplit_once('.')?;
    if name.contains('/') {
        return None;
    }
    Some(match kind {
        "service" => "Service",
        "socket" => "Socket",
        "scope" => "Scope",
        "slice" => "Slice",
        "mount" => "Mount",
        "swap" => "Swap",
        _ => return None,
    })
}

/// The drop-in of a unit.
pub struct DropIn<'a> {
    rule_set: &'a RuleSet,
    unit: &'a Unit,
    /// Others by their addresses.
    named: AddressSet,
    /// Whether the internet is among the others.
    internet: BTreeSet<IpVersion>,
    /// What others come to.
    ports: BTreeSet<String>,
}

impl<'a> DropIn<'a> {
    /// For this unit, of the rules for its connections.
    pub fn of(rule_set: &'a RuleSet, unit: &'a Unit) -> Self {
        let mut named = BTreeSet::<IpNet>::new();
        let mut internet = BTreeSet::new();
        let mut ports = BTreeSet::new();
        for (base, rule) in rules(rule_set) {
            let other = if base == BaseChain::Input { &rule.source } else { &rule.destination };
            match other {
                Side::Internet | Side::Any => {
                    internet.insert(rule.version);
                }
                Side::FoldedGroups => named.extend(networks(&folded_groups())),
                Side::Networks(networks) => named.extend(networks),
            }
            if base == BaseChain::Input {
                let protocol = words::protocol(rule.protocol);
                ports.extend(rule.ports.iter().map(|it| format!("{protocol}:{}", it.text("-"))));
            }
        }
        Self { rule_set, unit, named: AddressSet::of(named), internet, ports }
    }

    fn write_header(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, version) = (self.unit, env!("CARGO_PKG_VERSION"));
        writeln!(f, "# What {unit} was seen to need, by conntrack {version}.")?;
        if let Some(window) = self.rule_set.window {
            let connections = count_of(window.connections, "connection");
            let (first, last) = (Utc(window.first), Utc(window.last));
            writeln!(f, "# From {connections}, each last seen between {first} and {last}.")?;
        }
        writeln!(f, "# Put it into /etc/systemd/system/{unit}.d/50-conntrack.conf; then:")?;
        writeln!(f, "#   systemctl daemon-reload && systemctl restart {unit}")?;
        writeln!(
            f,
            "# systemd knows no names and no ports of others: each address is for all ports, and both ways."
        )?;
        for line in words::omissions(&self.rule_set.omissions) {
            writeln!(f, "# Left out: {line}")?;
        }
        Ok(())
    }

    fn write_addresses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "IPAddressDeny=any")?;
        writeln!(f, "# Itself: that was not recorded.")?;
        writeln!(f, "IPAddressAllow=localhost")?;
        for network in networks(&self.named) {
            writeln!(f, "IPAddressAllow={}", short(network))?;
        }
        for version in &self.internet {
            writeln!(
                f,
                "# INTERNET: systemd has no word for it, so it is all networks that are it."
            )?;
            for network in networks(&self.rule_set.internet(*version)) {
                writeln!(f, "IPAddressAllow={}", short(network))?;
            }
        }
        Ok(())
    }

    /// Port 0 is any that is free, for a client: it is not refused.
    fn write_ports(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for port in &self.ports {
            writeln!(f, "SocketBindAllow={port}")?;
        }
        for protocol in [Protocol::Tcp, Protocol::Udp].map(words::protocol) {
            writeln!(f, "SocketBindDeny={protocol}:1-65535")?;
        }
        Ok(())
    }
}

impl fmt::Display for DropIn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_header(f)?;
        let section = section(self.unit).unwrap_or("Service");
        writeln!(f, "\n[{section}]")?;
        self.write_addresses(f)?;
        self.write_ports(f)
    }
}

/// Of what the unit sends and receives itself.
fn rules(rule_set: &RuleSet) -> impl Iterator<Item = (BaseChain, &Rule)> {
    let own = rule_set.chains.iter().filter(|chain| chain.base != BaseChain::Forward);
    own.flat_map(|chain| chain.rules.iter().map(|rule| (chain.base, rule)))
}

fn networks(addresses: &AddressSet) -> Vec<IpNet> {
    addresses.intervals().flat_map(Interval::networks).collect()
}

/// A single address without its length.
fn short(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::{
        connection::{Connection, Direction, Evidence, Host, SourcePort},
        record::Outcome,
        recording::Recording,
        rules::vocabulary::Request,
    };

    const OWN: Host = Host::Address(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)));

    fn record(direction: Direction, other: Host, port: u16, unit: &str) -> Record {
        let (source, destination) =
            if direction == Direction::In { (other, OWN) } else { (OWN, other) };
        let connection = Connection {
            direction,
            protocol: Protocol::Tcp,
            source,
            source_port: SourcePort::Any,
            destination,
            destination_port: port,
        };
        let mut record = Record::of(connection, Outcome::Seen(Evidence::Answered), UNIX_EPOCH);
        record.units.add(&Unit::named(unit).expect("a name"));
        record
    }

    fn drop_in(records: Vec<Record>, typed: &str) -> Result<String, String> {
        let unit = one_unit(&records, &[typed.to_owned()])?;
        let recording = Recording { records, ..Recording::default() };
        let rule_set = RuleSet::of(&recording, Request::default());
        Ok(DropIn::of(&rule_set, &unit).to_string())
    }

    #[test]
    fn others_are_allowed_by_their_addresses_and_ports_are_bound_that_are_served() {
        let near = |last| Host::Address([10, 0, 0, last].into());
        let records = vec![
            record(Direction::In, near(7), 80, "web.service"),
            record(Direction::Out, near(8), 5432, "web.service"),
            record(Direction::Out, near(9), 5432, "web.service"),
        ];
        let text = drop_in(records, "web").expect("a drop-in");
        let lines: Vec<_> = text.lines().skip_while(|line| !line.starts_with('[')).collect();
        assert_eq!(
            lines,
            [
                "[Service]",
                "IPAddressDeny=any",
                "# Itself: that was not recorded.",
                "IPAddressAllow=localhost",
                "IPAddressAllow=10.0.0.7",
                "IPAddressAllow=10.0.0.8/31",
                "SocketBindAllow=tcp:80",
                "SocketBindDeny=tcp:1-65535",
                "SocketBindDeny=udp:1-65535",
            ]
        );
    }

    #[test]
    fn internet_is_all_its_networks_and_is_told() {
        let text = drop_in(vec![record(Direction::Out, Host::Internet, 443, "a.service")], "a");
        let text = text.expect("a drop-in");
        assert!(text.contains("# INTERNET: "), "{text}");
        assert!(text.contains("IPAddressAllow=8.0.0.0/7\n"), "{text}");
        let allowed: Vec<IpNet> = text
            .lines()
            .filter_map(|it| it.strip_prefix("IPAddressAllow=")?.parse().ok())
            .collect();
        for inside in ["10.1.2.3", "192.168.0.1", "172.16.0.1", "224.0.0.1"] {
            let inside: std::net::IpAddr = inside.parse().expect("an address");
            assert!(!allowed.iter().any(|it| it.contains(&inside)), "{inside}: {text}");
        }
    }

    #[test]
    fn what_is_no_unit_of_the_system_takes_no_drop_in() {
        for (unit, typed) in
            [("docker-0123456789ab", "docker-0123456789ab"), ("user@1.service/firefox", "firefox")]
        {
            let error = drop_in(vec![record(Direction::Out, Host::Internet, 443, unit)], typed);
            assert!(error.expect_err("refused").contains("takes no drop-in"), "{unit}");
        }
        let several = ["user@1.service/a.service", "a.service"]
            .map(|unit| record(Direction::Out, Host::Internet, 443, unit));
        assert!(drop_in(several.into(), "a").expect_err("refused").contains("several"));
    }
}
