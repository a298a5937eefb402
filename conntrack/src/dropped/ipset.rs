//! What rules of iptables dropped, as `ipset` keeps it.

use std::{net::IpAddr, time::Duration};

use crate::{
    connection::Protocol,
    host::programs::{ProgramError, run},
    print::iptables::sets::DROPPED,
};

/// What a set keeps of packets: with the time that an element has left, when the last one came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// `in`, `out` or `else`.
    pub(super) direction: String,
    pub(super) protocol: Protocol,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) port: u16,
    pub(super) ago: Duration,
}

/// All elements; `None` if no rules in force have such sets. A line that is not understood is an error.
pub(super) fn list() -> Result<Option<Vec<Result<Element, String>>>, ProgramError> {
    let names = run("ipset", &["list", "-n"], &[])?;
    let names = String::from_utf8_lossy(&names).into_owned();
    let mut elements = None;
    for name in names.lines().filter(|name| name.starts_with(DROPPED)) {
        let saved = run("ipset", &["save", name], &[])?;
        let found = read(&String::from_utf8_lossy(&saved));
        elements.get_or_insert_with(Vec::new).extend(found);
    }
    Ok(elements)
}

/// What `ipset save` prints of a set.
fn read(saved: &str) -> Vec<Result<Element, String>> {
    let whole = saved.lines().find(|line| line.starts_with("create ")).and_then(timeout);
    let added = saved.lines().filter(|line| line.starts_with("add "));
    added.map(|line| element(line, whole).ok_or_else(|| line.to_owned())).collect()
}

/// `add SET SOURCE,PROTOCOL:PORT,DESTINATION timeout SECONDS`
fn element(line: &str, whole: Option<Duration>) -> Option<Element> {
    let mut words = line.split_whitespace().skip(1);
    let direction = words.next()?.strip_prefix(DROPPED)?.split('-').next()?;
    let [source, service, destination] = words.next()?.split(',').collect::<Vec<_>>()[..] else {
        return None;
    };
    let (protocol, port) = service.split_once(':')?;
    Some(Element {
        direction: direction.to_owned(),
        protocol: match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return None,
        },
        source: source.parse().ok()?,
        destination: destination.parse().ok()?,
        port: port.parse().ok()?,
        ago: whole?.saturating_sub(timeout(line)?),
    })
}

fn timeout(line: &str) -> Option<Duration> {
    let mut words = line.split_whitespace().skip_while(|word| *word != "timeout");
    words.nth(1)?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_and_what_is_odd_is_told() {
        let saved = "create conntrack-dropped-else-v6 hash:ip,port,ip family inet6 timeout 691200\n\
            add conntrack-dropped-else-v6 fd00::1,tcp:443,fd00::2 timeout 691190\n\
            add conntrack-dropped-else-v6 fd00::1,icmp:8,fd00::2 timeout 691190\n\
            add conntrack-dropped-else-v6 fd00::1\nadd\n";
        let read = read(saved);
        let expected = Element {
            direction: "else".to_owned(),
            protocol: Protocol::Tcp,
            source: "fd00::1".parse().expect("an address"),
            destination: "fd00::2".parse().expect("an address"),
            port: 443,
            ago: Duration::from_secs(10),
        };
        assert_eq!(read[0], Ok(expected));
        assert!(read[1..].iter().all(Result::is_err), "{read:?}");
        assert_eq!(read.len(), 3);
    }
}
