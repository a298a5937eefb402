//! A connection as the tree shows it: a flow with its direction, folded to what a firewall rule
//! needs; and what came of it. What the tracker makes and the tree keeps; both know only this.

use std::net::{IpAddr, SocketAddr};

pub use conntrack_common::address::IpVersion;
pub use conntrack_common::flow::{Direction, Protocol};

use crate::unit::Unit;

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

impl Connection {
    /// The address of the machine that was watched; between others there is none.
    pub const fn own_address(&self) -> Option<IpAddr> {
        let own = match self.direction {
            Direction::In => self.destination,
            Direction::Out => self.source,
            Direction::Else => return None,
        };
        match own {
            Host::Address(address) => Some(address),
            Host::Internet => None,
        }
    }
}

/// What came of a connection, weaker words first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Evidence {
    /// UDP: every datagram so far was the answer to one of the other direction.
    Reply,
    /// TCP: the other end sent an RST.
    Refused,
    /// UDP: nobody answered, and a socket of this machine was bound to the port.
    Served,
    /// The other end answered.
    Answered,
}

impl Evidence {
    /// Every word, weaker ones first.
    pub const ALL: [Self; 4] = [Self::Reply, Self::Refused, Self::Served, Self::Answered];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Refused => "refused",
            Self::Served => "served",
            Self::Answered => "answered",
        }
    }

    /// Whether there is this word for this protocol.
    pub const fn is_of(self, protocol: Protocol) -> bool {
        match self {
            Self::Answered => true,
            Self::Refused => matches!(protocol, Protocol::Tcp),
            Self::Served | Self::Reply => matches!(protocol, Protocol::Udp),
        }
    }

    /// The evidence that this word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|evidence| evidence.as_str() == word)
    }
}

/// What is known of the local socket of a connection: whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// Nothing.
    #[default]
    Unknown,
    /// It has these ends; if the other one is unspecified, anybody may connect to it.
    Socket {
        /// Ours.
        local: SocketAddr,
        /// The other one.
        remote: SocketAddr,
    },
    /// It was made in the control group with this number.
    Cgroup(u64),
    /// It is this unit's.
    Unit(Unit),
}

/// What one batch shows of a connection: what the tracker makes of flows and the tree keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Which connection.
    pub connection: Connection,
    /// Whether a packet of its own was seen. An answer alone makes no file and sets no time.
    pub has_packet: bool,
    /// Whether one of its packets opens it: SYN, or a datagram that answers none. Such a connection is
    /// no `reply`, from then on.
    pub opens: bool,
    /// The strongest word.
    pub evidence: Option<Evidence>,
    /// Whose it is.
    pub whose: Whose,
}

impl Sighting {
    /// A connection of which a packet was seen that opens it.
    pub const fn opened(connection: Connection) -> Self {
        Self { connection, has_packet: true, opens: true, evidence: None, whose: Whose::Unknown }
    }

    /// That a connection is somebody's, and nothing else of it.
    pub(crate) const fn only_whose(connection: Connection, whose: Whose) -> Self {
        Self { connection, has_packet: false, opens: false, evidence: None, whose }
    }

    /// Adds what else was seen of the same connection, but whose it is.
    pub fn merge(&mut self, other: &Self) {
        self.has_packet |= other.has_packet;
        self.opens |= other.opens;
        self.evidence = self.evidence.max(other.evidence);
        if self.opens && self.evidence == Some(Evidence::Reply) {
            self.evidence = None;
        }
    }
}

/// A number for each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByDirection([u64; Direction::ALL.len()]);

impl ByDirection {
    /// What was counted for one direction.
    pub fn get(&self, direction: Direction) -> u64 {
        self.0[Self::place(direction)]
    }

    /// Counts one more.
    pub fn count(&mut self, direction: Direction) {
        self.count_more(direction, 1);
    }

    /// Counts several more.
    pub fn count_more(&mut self, direction: Direction, number: u64) {
        self.0[Self::place(direction)] += number;
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, others: &Self) {
        for (number, other) in self.0.iter_mut().zip(others.0) {
            *number += other;
        }
    }

    /// Over all directions.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    const fn place(direction: Direction) -> usize {
        match direction {
            Direction::In => 0,
            Direction::Out => 1,
            Direction::Else => 2,
        }
    }
}
