//! Answers that connection tracking does not know: to requests by multicast or broadcast they come from
//! another address than the request went to. SSDP, `NetBIOS`, multicast DNS, DHCP.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::IpNet;

use super::{
    addresses::version,
    choosing::Choice,
    ephemeral::{Ports, ephemeral_ports},
    internet::may_be_group,
    vocabulary::{BaseChain, PortRange},
};
use crate::{
    connection::{Connection, Direction, Evidence, Host, IpVersion, Protocol},
    record::{Outcome, Record},
    recording::Recording,
};

/// Ports that hosts ask by multicast or broadcast and are answered from: `NetBIOS` names,
/// SSDP, WS-Discovery, multicast DNS, LLMNR.
const DISCOVERY: [u16; 5] = [137, 1900, 3702, 5353, 5355];
/// Of a server of DHCP (RFC 2131), whose clients have no address yet.
pub(crate) const DHCP_SERVER: u16 = 67;
/// Of its clients.
pub(crate) const DHCP_CLIENT: u16 = 68;

/// Who asks whom by multicast or broadcast, over one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRequests {
    /// Of both ends.
    pub version: IpVersion,
    /// What this host asks, with its addresses.
    pub asked: Asked,
    /// What it is asked.
    pub served: Served,
}

/// What this host asks by multicast or broadcast, or may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The ports.
    pub ports: Vec<PortRange>,
    /// Its addresses.
    pub locals: BTreeSet<IpNet>,
    /// Who may have answered: datagrams that belong to no request came from there.
    pub answered_by: BTreeSet<IpNet>,
    /// The ports that answers come to.
    pub ephemeral: Option<PortRange>,
}

/// What this host is asked by multicast or broadcast, as far as rules accept it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// The ports.
    pub ports: Vec<PortRange>,
    /// Who asks.
    pub by: BTreeSet<IpNet>,
    /// Whether it serves DHCP over IPv4.
    pub has_dhcp: bool,
}

impl GroupRequests {
    /// Those of each version that there are.
    pub(super) fn of(recording: &Recording, choice: &Choice) -> Vec<Self> {
        let versions = [IpVersion::V4, IpVersion::V6].into_iter();
        let all = versions.map(|version| Self {
            version,
            asked: asked(recording, choice, version),
            served: served(choice, version),
        });
        all.filter(|it| !it.asked.ports.is_empty() || !it.served.ports.is_empty()).collect()
    }
}

fn asked(recording: &Recording, choice: &Choice, version: IpVersion) -> Asked {
    let requests = choice.chosen.iter().map(|(_, record)| &record.connection);
    let requests: Vec<_> =
        requests.filter(|it| may_ask_many(it) && is_of(it.source, version)).collect();
    let locals: BTreeSet<IpAddr> = requests.iter().filter_map(|it| address(it.source)).collect();
    let ports = Ports::of(recording);
    let answers = recording.records.iter().filter(|record| {
        may_be_answer(record, &ports)
            && address(record.connection.destination).is_some_and(|it| locals.contains(&it))
    });
    let answered_by = answers.filter_map(|record| address(record.connection.source));
    Asked {
        answered_by: answered_by.map(IpNet::from).collect(),
        ports: PortRange::all(requests.iter().map(|it| it.destination_port)),
        locals: locals.into_iter().map(IpNet::from).collect(),
        ephemeral: Some(ephemeral_ports(recording)),
    }
}

/// Whether it came to a port that this host may have asked from, and belongs to no request to its sender.
fn may_be_answer(record: &Record, ports: &Ports) -> bool {
    let connection = &record.connection;
    let belongs = matches!(record.outcome, Outcome::Seen(Evidence::Answered | Evidence::Reply));
    (connection.direction, connection.protocol) == (Direction::In, Protocol::Udp)
        && ports.is_ephemeral(connection.own_address(), connection.destination_port)
        && !belongs
}

fn served(choice: &Choice, version: IpVersion) -> Served {
    let requests = choice.chosen.iter().filter(|(base, _)| *base == BaseChain::Input);
    let requests: Vec<_> = requests
        .map(|(_, record)| &record.connection)
        .filter(|it| it.direction == Direction::Else && is_of(it.destination, version))
        .collect();
    let by = requests.iter().filter_map(|it| address(it.source));
    let is_client_without_address = |it: &IpAddr| *it == IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let serves_dhcp = |it: &&Connection| it.destination_port == DHCP_SERVER;
    Served {
        has_dhcp: version == IpVersion::V4 && requests.iter().any(serves_dhcp),
        ports: PortRange::all(requests.iter().map(|it| it.destination_port)),
        by: by.filter(|it| !is_client_without_address(it)).map(IpNet::from).collect(),
    }
}

/// The tree folds IPv4 multicast and broadcast into `INTERNET`; then only the port tells.
pub(super) fn may_ask_many(connection: &Connection) -> bool {
    let is_out_udp = (connection.direction, connection.protocol) == (Direction::Out, Protocol::Udp);
    is_out_udp
        && match connection.destination {
            Host::Internet => DISCOVERY.contains(&connection.destination_port),
            Host::Address(address) => may_be_group(address),
        }
}

fn is_of(host: Host, of: IpVersion) -> bool {
    address(host).is_some_and(|address| version(address) == of)
}

const fn address(host: Host) -> Option<IpAddr> {
    match host {
        Host::Address(address) => Some(address),
        Host::Internet => None,
    }
}
