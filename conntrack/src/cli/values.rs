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
    match humantime::parse_duration(text) {
        Ok(interval) if (SHORTEST..=LONGEST).contains(&interval) => Ok(interval),
        _ => Err("an interval is from 10ms to 1h, as in 500ms or 2s".to_owned()),
    }
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
    fn an_address_alone_is_a_network_of_one() {
        assert_eq!(network("203.0.113.7"), network("203.0.113.7/32"));
    }
}
