//! A connection as the tree shows it: a flow with its direction, folded to what a firewall rule
//! needs. What the tracker makes and the tree names; both know only this.

use std::net::IpAddr;

pub use conntrack_common::flow::Protocol;

/// Whose conversation it is, seen from the watched device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Somebody else opened it to an address of the device.
    In,
    /// An address of the device opened it.
    Out,
    /// Neither end is the device; multicast and broadcast from others among them.
    Else,
}

impl Direction {
    /// Every direction.
    pub const ALL: [Self; 3] = [Self::In, Self::Out, Self::Else];
}

/// One end's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// This address.
    Address(IpAddr),
    /// Any address that is routed in the internet.
    Internet,
}

/// The source port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourcePort {
    /// This port.
    Number(u16),
    /// Any port: it differs from connection to connection and no rule needs it.
    Any,
}

/// A conversation, folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Connection {
    /// Seen from the watched device.
    pub direction: Direction,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Who sent the packet.
    pub source: Host,
    /// The port it came from.
    pub source_port: SourcePort,
    /// Who it was for.
    pub destination: Host,
    /// The port it was for.
    pub destination_port: u16,
}
