//! Folding: the source port to `PORT`, the internet to `INTERNET`, as far as the direction and
//! the settings allow.

use std::net::IpAddr;

use conntrack_common::flow::{FlowKey, Protocol};

use super::{Scope, Settings};
use crate::connection::{Connection, Direction, Host, SourcePort};

/// The flow as the tree shows it.
pub(super) fn connection(
    flow: &FlowKey,
    protocol: Protocol,
    direction: Direction,
    settings: &Settings,
) -> Connection {
    let fold_source = direction == Direction::In && !settings.no_internet_in;
    let fold_destination = direction == Direction::Out && !settings.no_internet_out;
    let source_port = match direction {
        Direction::In | Direction::Out => SourcePort::Any,
        Direction::Else => SourcePort::Number(flow.src_port()),
    };
    Connection {
        direction,
        protocol,
        source: host(flow.src(), fold_source, &settings.scope),
        source_port,
        destination: host(flow.dst(), fold_destination, &settings.scope),
        destination_port: flow.dst_port(),
    }
}

fn host(address: IpAddr, fold: bool, scope: &Scope) -> Host {
    if fold && scope.is_internet(address) { Host::Internet } else { Host::Address(address) }
}
