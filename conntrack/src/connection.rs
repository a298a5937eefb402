//! A connection as the tree shows it: a flow with its direction, folded to what a firewall rule
//! needs. What the tracker makes and the tree names; both know only this.

use std::net::IpAddr;

pub use conntrack_common::flow::{Direction, Protocol};

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
        self.0[Self::place(direction)] += 1;
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
