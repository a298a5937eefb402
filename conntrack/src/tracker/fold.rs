//! Folding: the source port to `PORT`, the internet to `INTERNET`, as far as the direction and
//! the settings allow.

use conntrack_common::{
    address::Address,
    flow::{FlowKey, Protocol},
};

use super::settings::Settings;
use crate::connection::{Connection, Direction, Host, SourcePort};

/// The flow as the tree shows it.
pub(super) fn connection(
    flow: &FlowKey,
    protocol: Protocol,
    direction: Direction,
    settings: &Settings,
) -> Connection {
    let source_port = match direction {
        Direction::In | Direction::Out => SourcePort::Any,
        Direction::Else => SourcePort::Number(flow.src_port()),
    };
    let fold = |address: Address, folds: bool| {
        let is_internet = flow.is_remote_cleared() || settings.scope.is_internet(address);
        if folds && is_internet { Host::Internet } else { Host::Address(address.ip()) }
    };
    Connection {
        direction,
        protocol,
        source: fold(flow.src(), direction == Direction::In && !settings.no_internet_in),
        source_port,
        destination: fold(flow.dst(), direction == Direction::Out && !settings.no_internet_out),
        destination_port: flow.dst_port(),
    }
}
