//! Names of services, as in /etc/services (services(5)).

use std::{collections::BTreeMap, fs, io};

use crate::connection::Protocol;

const FILE: &str = "/etc/services";

/// Names by port and protocol.
#[derive(Clone, Debug, Default)]
pub struct Services(BTreeMap<(u16, &'static str), String>);

impl Services {
    /// Those of this machine.
    ///
    /// # Errors
    /// That the file cannot be read.
    pub fn of_machine() -> io::Result<Self> {
        let text = fs::read(FILE).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot read {FILE}: {error}"))
        })?;
        Ok(Self::read(&String::from_utf8_lossy(&text)))
    }

    /// The first name of a port counts.
    fn read(text: &str) -> Self {
        let mut services = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(name), Some(port)) = (words.next(), words.next()) else { continue };
            let Some((port, protocol)) = port.split_once('/') else { continue };
            let protocol = ["tcp", "udp"].into_iter().find(|it| *it == protocol);
            if let (Ok(port), Some(protocol)) = (port.parse(), protocol) {
                services.entry((port, protocol)).or_insert_with(|| name.to_owned());
            }
        }
        Self(services)
    }

    /// The name of a port, if it has one.
    pub(crate) fn name(&self, port: u16, protocol: Protocol) -> Option<&str> {
        let protocol = crate::tree::protocol_directory(protocol);
        self.0.get(&(port, protocol)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_service_is_passed_over() {
        let text = "# comment\nssh\t22/tcp # Secure Shell\ndomain 53/tcp\ndomain 53/udp\n\
                    other 53/udp alias\nodd\nodd 1\nodd 99999/tcp\nodd 2/sctp\n";
        let services = Services::read(text);
        assert_eq!(services.name(22, Protocol::Tcp), Some("ssh"));
        assert_eq!(services.name(22, Protocol::Udp), None);
        assert_eq!(services.name(53, Protocol::Udp), Some("domain"));
        assert_eq!(services.0.len(), 3);
    }
}
