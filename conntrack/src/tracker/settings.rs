//! What the user asked of the tracker.

use std::collections::BTreeSet;

use clap::ValueEnum;
use conntrack_common::address::Address;

use super::scope::Scope;

/// Which IP versions are of interest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Both.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Family {
    pub(super) fn contains(self, address: &Address) -> bool {
        let other = if address.is_v4() { Self::V6 } else { Self::V4 };
        self != other
    }
}

/// How answers are told from requests in UDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum UdpDirection {
    /// What comes from a system port that the device has sent to is an answer.
    #[default]
    Ports,
    /// A datagram of the reverse 5-tuple is an answer, for as long as netfilter would know it.
    Pairs,
}

/// What the user asked of the tracker.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Which IP versions are of interest.
    pub family: Family,
    /// Leave out connections that are neither of nor to the device.
    pub skip_else: bool,
    /// Name the internet hosts that open connections to the device one by one.
    pub no_internet_in: bool,
    /// Name the internet hosts that the device opens connections to one by one.
    pub no_internet_out: bool,
    /// UDP ports of servers on the device: what they send are answers.
    pub udp_servers: BTreeSet<u16>,
    /// How answers are told from requests in UDP.
    pub udp_direction: UdpDirection,
    /// Which addresses are the internet.
    pub scope: Scope,
}
