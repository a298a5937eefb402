//! Direction: whose conversation a flow is.

use std::{collections::BTreeSet, net::IpAddr};

use conntrack_common::flow::FlowKey;

use crate::connection::Direction;

/// The source decides first: what the device sends to itself is `out`.
pub(super) fn of(flow: &FlowKey, local: &BTreeSet<IpAddr>) -> Direction {
    if local.contains(&flow.src()) {
        Direction::Out
    } else if local.contains(&flow.dst()) {
        Direction::In
    } else {
        Direction::Else
    }
}
