//! Coarsening: clearing from a flow key what the tree can never show, so that a flood from a million
//! addresses is one entry of the flow map.
//!
//! It is a cheaper way to the same tree, not another rule: the tracker makes of a coarse flow what it
//! would have made of the first of the flows that it stands for.

use super::direction::direction;
use crate::{
    flow::{Direction, FlowKey},
    policy::Policy,
    wire::Skip,
};

/// First port that is not a system port (RFC 6335 section 6).
pub const FIRST_USER_PORT: u16 = 1024;

/// Stands for every source port where it does not matter: no server can be on it.
const ANY_PORT: u16 = 0;

/// Stands for every source port that is no system port.
const ANY_USER_PORT: u16 = u16::MAX;

/// The flow without what the tree can never show under this policy.
///
/// | direction | source port | remote address |
/// |---|---|---|
/// | out | cleared | cleared if it shows as the internet |
/// | in | cleared; UDP: kept if it is a system port, for it may tell an answer | likewise |
/// | else | kept | kept |
///
/// Returns the flow's direction; `None` where the policy knows none.
///
/// # Errors
/// [`Skip::LeftOut`] for a flow that the settings leave out of the tree, [`Skip::UdpServer`] for one that
/// they leave out and that may still answer another.
#[inline(always)]
pub fn coarsen(flow: &mut FlowKey, policy: &Policy) -> Result<Option<Direction>, Skip> {
    if !policy.coarsens() {
        return Ok(None);
    }
    if policy.skips_family_of(&flow.src()) {
        return Err(Skip::LeftOut);
    }
    let is_udp = flow.is_udp();
    let direction = direction(flow, |address| policy.is_local(address));
    let (port, remote) = match direction {
        Direction::Else if policy.skips_else() => return Err(Skip::LeftOut),
        Direction::Else => return Ok(Some(direction)),
        Direction::Out if is_udp && policy.is_udp_server(flow.src_port()) => {
            return Err(Skip::UdpServer);
        }
        Direction::Out => (ANY_PORT, flow.dst()),
        Direction::In if !is_udp => (ANY_PORT, flow.src()),
        Direction::In if flow.src_port() < FIRST_USER_PORT => (flow.src_port(), flow.src()),
        Direction::In => (ANY_USER_PORT, flow.src()),
    };
    flow.make_coarse(direction, port, policy.clears(&remote, direction));
    Ok(Some(direction))
}
