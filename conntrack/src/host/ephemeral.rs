//! Ephemeral ports: those that the kernel gives to sockets that do not ask for one.

use std::{fs, io, ops::RangeInclusive};

/// Of the network namespace of whoever reads it, wherever `/proc` was mounted.
const PATH: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// The range of them, for UDP and TCP.
///
/// # Errors
/// A `/proc/sys` that is not there, or says something else.
pub(crate) fn ports() -> io::Result<RangeInclusive<u16>> {
    let text = fs::read_to_string(PATH)?;
    parse(&text).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{PATH} is no range: {text:?}"))
    })
}

fn parse(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace();
    let mut number = || numbers.next()?.parse().ok();
    Some(number()?..=number()?)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn what_the_kernel_chooses_is_in_the_range() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let port = socket.local_addr().expect("bound").port();
        let ports = ports().expect("a range");
        assert!(ports.contains(&port), "{port} is not in {ports:?}");
    }

    #[test]
    fn a_range_is_two_numbers() {
        assert_eq!(parse("32768\t60999\n"), Some(32_768..=60_999));
        for text in ["", "1", "1 x", "-1 5", "0 65536"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
