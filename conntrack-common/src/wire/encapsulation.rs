//! Headers between link header and IP, in any order: VLAN tags of all types, backbone tags, LLC with SNAP,
//! `PPPoE`, MPLS.
//!
//! Slow path: frames with IP directly after the link header or after standard VLAN tags do not come here
//! in the kernel.

use super::{IPV4, IPV6, PacketBytes, Skip, backbone, llc, mpls, pppoe, vlan};

/// Headers to skip at most. A customer's frame inside a provider's can have two tags, the backbone tag,
/// two more tags, `PPPoE` and MPLS.
pub const MAX_HEADERS: usize = 8;

/// Stands for every IEEE 802.3 length: an LLC frame without an `EtherType`.
pub const NO_TYPE: u16 = 0;

/// The `EtherType` of IPv4 or IPv6 and the offset of the IP header, given the link header's type and
/// payload offset.
///
/// # Errors
/// [`Skip::NotIp`] for any other payload, [`Skip::Truncated`] if the frame ends first,
/// [`Skip::TooManyTags`] if there are too many headers.
#[inline(always)]
pub fn step_over<P: PacketBytes + ?Sized>(
    packet: &P,
    ether_type: u16,
    offset: usize,
) -> Result<(u16, usize), Skip> {
    walk(packet, ether_type, offset).1
}

/// The unsupported `EtherType` of a frame that is [`Skip::NotIp`], or [`NO_TYPE`]; `None` for any other
/// frame.
#[inline(always)]
pub fn unsupported_type<P: PacketBytes + ?Sized>(
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

/// The last `EtherType` read, and the outcome.
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

/// The type and offset of the payload of one header.
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
