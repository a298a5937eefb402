//! What may stand between a link header and IP, in any order: VLAN tags of all kinds, the tag of a
//! backbone, LLC with SNAP, `PPPoE`, MPLS.
//!
//! It is rare. So what runs for each packet looks for IP right behind the link header and behind usual
//! tags first, and comes here with what it did not find.

use super::{IPV4, IPV6, PacketBytes, Skip, backbone, llc, mpls, pppoe, vlan};

/// Headers that are stepped over. A provider's frame with a customer's inside has two tags, the
/// backbone's, two tags, `PPPoE` and MPLS.
pub const MAX_HEADERS: usize = 8;

/// Stands for all lengths of IEEE 802.3: LLC led no further, and there is no `EtherType`.
pub const NO_TYPE: u16 = 0;

/// IP's `EtherType` and the offset of its header, given the type and payload offset of the link header.
///
/// # Errors
/// [`Skip::NotIp`] if something else comes first; [`Skip::Truncated`] and [`Skip::TooManyTags`] if that
/// cannot be told.
#[inline(always)]
pub fn step_over<P: PacketBytes + ?Sized>(
    packet: &P,
    ether_type: u16,
    offset: usize,
) -> Result<(u16, usize), Skip> {
    walk(packet, ether_type, offset).1
}

/// The `EtherType` that led no further, or [`NO_TYPE`]; `None` if IP was found, or the frame ended before.
#[inline(always)]
pub fn dead_end<P: PacketBytes + ?Sized>(
    packet: &P,
    ether_type: u16,
    offset: usize,
) -> Option<u16> {
    match walk(packet, ether_type, offset) {
        (last, Err(Skip::NotIp)) => Some(named(last)),
        _ => None,
    }
}

/// The type itself, unless it is a length.
#[inline(always)]
pub(super) const fn named(ether_type: u16) -> u16 {
    if ether_type < llc::FIRST_TYPE { NO_TYPE } else { ether_type }
}

/// The last `EtherType` that was looked at, and what came of it.
#[inline(always)]
pub(super) fn walk<P: PacketBytes + ?Sized>(
    packet: &P,
    mut ether_type: u16,
    mut offset: usize,
) -> (u16, Result<(u16, usize), Skip>) {
    let mut tags = 0;
    for _ in 0..=MAX_HEADERS {
        if matches!(ether_type, IPV4 | IPV6) {
            return (ether_type, Ok((ether_type, offset)));
        }
        if vlan::is_tag(ether_type) {
            tags += 1;
        }
        let inner = if tags > packet.max_tags() {
            Err(Skip::TooManyTags)
        } else {
            next(packet, ether_type, offset)
        };
        match inner {
            Ok(inner) => {
                if ether_type == backbone::SERVICE_INSTANCE {
                    tags = 0;
                }
                (ether_type, offset) = inner;
            }
            Err(skip) => return (ether_type, Err(skip)),
        }
    }
    (ether_type, Err(Skip::TooManyTags))
}

/// The type and offset of what stands behind one header.
#[inline(always)]
fn next<P: PacketBytes + ?Sized>(
    packet: &P,
    ether_type: u16,
    offset: usize,
) -> Result<(u16, usize), Skip> {
    match ether_type {
        pppoe::SESSION => pppoe::payload(packet, offset),
        mpls::UNICAST | mpls::MULTICAST => mpls::payload(packet, offset),
        backbone::SERVICE_INSTANCE => backbone::payload(packet, offset),
        tag if vlan::is_tag(tag) => vlan::payload(packet, offset),
        length if length < llc::FIRST_TYPE => llc::payload(packet, offset),
        _ => Err(Skip::NotIp),
    }
}
