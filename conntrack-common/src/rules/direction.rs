//! Whose conversation a flow is.

use crate::{
    address::Address,
    flow::{Direction, FlowKey},
};

/// Whose conversation a flow is. The source decides first: what the device sends to itself is `Out`.
#[inline(always)]
pub fn direction(flow: &FlowKey, is_local: impl Fn(&Address) -> bool) -> Direction {
    if is_local(&flow.src()) {
        Direction::Out
    } else if is_local(&flow.dst()) {
        Direction::In
    } else {
        Direction::Else
    }
}
