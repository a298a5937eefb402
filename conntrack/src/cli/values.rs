//! Parsers of values that several commands share: ports, networks, durations, device names.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use crate::rules::vocabulary::Aggregation;

pub(super) fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("a port is a number from 1 to 65535".to_owned()),
    }
}

/// A network; an address alone is a network of one.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map_err(|_| "a network is an address and a prefix length, as in 203.0.113.0/24".to_owned())
}

pub(super) fn interval(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_hours(1);
    match seconds(text) {
        Some(interval) if (SHORTEST..=LONGEST).contains(&interval) => Ok(interval),
        _ => Err("an interval is from 10ms to 1h, as in 500ms or 2s; a number alone is seconds"
            .to_owned()),
    }
}

/// How long something goes on.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    seconds(text).filter(|it| !it.is_zero()).ok_or_else(|| {
        "a duration is a number and a unit, as in 30m or 24h; a number alone is seconds".to_owned()
    })
}

/// A duration; a number alone is seconds, as for sleep(1).
fn seconds(text: &str) -> Option<Duration> {
    let is_number = text.bytes().all(|it| it.is_ascii_digit() || it == b'.');
    let number = || text.parse().ok().and_then(|it| Duration::try_from_secs_f64(it).ok());
    if is_number { number() } else { humantime::parse_duration(text).ok() }
}

/// An address of this machine, also as `ip address` shows it: with a prefix length, or with a zone.
pub(super) fn local(text: &str) -> Result<IpAddr, String> {
    let address = text.split_once('%').map_or(text, |(address, _zone)| address);
    if let Ok(address) = address.parse() {
        return Ok(address);
    }
    match address.parse::<IpNet>() {
        Ok(network) if is_network(&network) => Err(format!(
            "{text} is a network; give the machine's address in it, as in {}/{}",
            network.hosts().next().unwrap_or(network.addr()),
            network.prefix_len()
        )),
        Ok(network) => Ok(network.addr()),
        Err(_) => Err("an address is one of IPv4 or IPv6, as in 192.0.2.7".to_owned()),
    }
}

/// Whether it is no host's address: it is the first of several that the prefix holds.
fn is_network(network: &IpNet) -> bool {
    network.addr() == network.network() && network.max_prefix_len() - network.prefix_len() > 1
}

pub(super) fn aggregation(text: &str) -> Result<Aggregation, String> {
    let lengths = text.split_once(',').and_then(|(v4, v6)| {
        let v4 = v4.parse().ok()?;
        let v6 = v6.parse().ok()?;
        (v4 <= Aggregation::NONE.v4 && v6 <= Aggregation::NONE.v6).then_some(Aggregation { v4, v6 })
    });
    lengths.ok_or_else(|| "two prefix lengths, of IPv4 and IPv6, as in 24,64".to_owned())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "a duration is a number and a unit, as in 12h or 30d".to_owned())
}

/// A name that the kernel allows (`dev_valid_name`) and that cannot end an nftables string.
pub(super) fn device(text: &str) -> Result<String, String> {
    const LONGEST: usize = 15;
    let is_fine = |character: char| {
        character.is_ascii_graphic() && !matches!(character, '/' | ':' | '"' | '\\' | '*' | '+')
    };
    let is_name = !matches!(text, "" | "." | "..") && text.len() <= LONGEST;
    (is_name && text.chars().all(is_fine))
        .then(|| text.to_owned())
        .ok_or_else(|| "a device's name is up to 15 letters, digits and signs".to_owned())
}

/// Each device once, in the order in which they were given.
pub(super) fn unique(devices: &[String]) -> Vec<String> {
    let mut unique: Vec<String> = Vec::new();
    for device in devices {
        if !unique.contains(device) {
            unique.push(device.clone());
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_s_name_cannot_leave_its_quotes() {
        for name in ["eth0", "br-lan.7", "wg@0"] {
            assert_eq!(device(name).as_deref(), Ok(name));
        }
        for name in ["", "..", "a b", "a\"b", "a\\b", "a\nb", "eth*", "sixteen-letters-", "\u{e9}"]
        {
            assert!(device(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn an_aggregation_is_two_prefix_lengths() {
        assert_eq!(aggregation("24,64"), Ok(Aggregation { v4: 24, v6: 64 }));
        for text in ["24", "33,64", "24,129", "24,64,1", "-1,64", "a,b"] {
            assert!(aggregation(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_alone_is_seconds_where_a_duration_is_short() {
        for (text, milliseconds) in
            [("5", 5_000), ("0.5", 500), ("500ms", 500), ("2s", 2_000), ("1m 30s", 90_000)]
        {
            assert_eq!(interval(text), Ok(Duration::from_millis(milliseconds)), "{text}");
            assert_eq!(span(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in
            ["", ".", "0", "0.0", "0s", "-1", "5x", "1..2", "1e3", "99999999999999999999999"]
        {
            assert!(interval(text).is_err() && span(text).is_err(), "{text}");
        }
        assert!(interval("7200").is_err() && interval("0.001").is_err());
        assert!(duration("30").is_err(), "days or seconds?");
    }

    #[test]
    fn a_local_address_is_taken_as_ip_shows_it() {
        for (text, address) in [
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3/24", "10.1.2.3"),
            ("10.1.2.3/32", "10.1.2.3"),
            ("10.1.2.2/31", "10.1.2.2"),
            ("2001:db8::7/64", "2001:db8::7"),
            ("fe80::1%eth0", "fe80::1"),
        ] {
            assert_eq!(local(text), Ok(address.parse().expect("an address")), "{text}");
        }
        let network = local("10.1.2.0/24").expect_err("no host has it");
        assert!(network.ends_with("as in 10.1.2.1/24"), "{network}");
        for text in ["", "eth0", "10.1.2.256", "10.1.2.3/33", "10.1.2.3:80", "%eth0"] {
            assert!(local(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_alone_is_a_network_of_one() {
        assert_eq!(network("203.0.113.7"), network("203.0.113.7/32"));
    }
}
