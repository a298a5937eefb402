//! The multicast groups that this machine has joined, as `/proc` lists them: what comes to others is not
//! for us.
//!
//! rtnetlink tells those of IPv4 since Linux 6.15 only. `/proc/thread-self/net` is of the network
//! namespace that this thread runs in, wherever `/proc` was mounted; a `/proc` that does not know this
//! thread has none.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

const DIRECTORY: &str = "/proc/thread-self/net";

/// The groups that are joined now on some devices, which are told by their indexes.
///
/// # Errors
/// A `/proc` that is not there, or is somebody else's.
pub(crate) fn joined(is_meant: impl Fn(u32) -> bool) -> io::Result<BTreeSet<IpAddr>> {
    fs::metadata(DIRECTORY)?;
    let mut groups = BTreeSet::new();
    let mut add = |on: u32, group: IpAddr| {
        if is_meant(on) {
            groups.insert(group);
        }
    };
    let mut on = 0;
    for_each_line("igmp", |line| match v4(line) {
        Some(V4::Device(index)) => on = index,
        Some(V4::Group(group)) => add(on, group.into()),
        None => {}
    })?;
    for_each_line("igmp6", |line| {
        if let Some((index, group)) = v6(line) {
            add(index, group.into());
        }
    })?;
    Ok(groups)
}

/// A kernel without the protocol has no file for it.
fn for_each_line(file: &str, mut each: impl FnMut(&str)) -> io::Result<()> {
    let file = match File::open(format!("{DIRECTORY}/{file}")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    for line in BufReader::new(file).lines() {
        each(&line?);
    }
    Ok(())
}

/// What a line of `/proc/net/igmp` is about.
#[derive(Debug, PartialEq, Eq)]
enum V4 {
    /// The groups in the lines that follow are on this device.
    Device(u32),
    Group(Ipv4Addr),
}

/// A device's line starts with its index, a group's with white space and its address: as the number
/// that these four octets are to this machine.
fn v4(line: &str) -> Option<V4> {
    let first = line.split_whitespace().next()?;
    if line.starts_with(|it: char| it.is_ascii_digit()) {
        return first.parse().ok().map(V4::Device);
    }
    let octets = u32::from_str_radix(first, 16).ok()?.to_ne_bytes();
    Some(V4::Group(octets.into())).filter(|_| line.starts_with(char::is_whitespace))
}

/// `/proc/net/igmp6` has one line for each: the device's index, its name, the group.
fn v6(line: &str) -> Option<(u32, Ipv6Addr)> {
    let mut columns = line.split_whitespace();
    let index = columns.next()?.parse().ok()?;
    let group = u128::from_str_radix(columns.nth(1)?, 16).ok()?;
    Some((index, group.into()))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::host::{device, netlink::Connection};

    #[test]
    fn what_lines_say() {
        let group = u32::from_ne_bytes([224, 0, 0, 251]);
        for (line, expected) in [
            ("Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter", None),
            ("12\teth0      :     1      V3", Some(V4::Device(12))),
            (
                &format!("\t\t\t\t{group:08X}     1 0:00000000\t\t0"),
                Some(V4::Group(Ipv4Addr::new(224, 0, 0, 251))),
            ),
            ("", None),
            ("\t\t", None),
            ("\t\tno group", None),
            ("99999999999\teth0", None),
        ] {
            assert_eq!(v4(line), expected, "{line:?}");
        }
        let all_nodes = (7, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
        for (line, expected) in [
            (
                "7    eth0            ff020000000000000000000000000001     1 0000000C 0",
                Some(all_nodes),
            ),
            ("7    eth0            ff02:1", None),
            ("7    eth0", None),
            ("", None),
        ] {
            assert_eq!(v6(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_group_that_is_joined_is_there_and_on_its_device_only() {
        let group = Ipv4Addr::new(239, 255, 77, 66);
        let mut connection = Connection::to_route().expect("a socket");
        let loopback = device::index(&mut connection, "lo").expect("an answer").expect("a device");
        let is_joined = |on: u32| joined(|it| it == on).expect("groups").contains(&group.into());
        assert!(!is_joined(loopback));
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).expect("joined");
        assert!(is_joined(loopback) && !is_joined(loopback + 1));
        let group: IpAddr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into();
        let has_v6 = UdpSocket::bind("[::1]:0").is_ok();
        assert_eq!(joined(|_| true).expect("groups").contains(&group), has_v6);
    }
}
