//! pcap (draft-ietf-opsawg-pcap): a file header, and a header for each packet. Both byte orders, micro- and
//! nanoseconds, and Kuznetzov's modified format.

use std::time::Duration;

use super::{
    byte_order::ByteOrder,
    error::{CaptureError, Damage},
    located::{Found, LinkType, Located, MAX_PACKET},
};

/// Octets of the file header.
pub(super) const HEADER: usize = 24;
/// Octets of a packet header.
const RECORD: usize = 16;
/// The same in the modified format, with interface, protocol and packet type.
const MODIFIED_RECORD: usize = 24;

mod field {
    pub(super) const MAGIC: usize = 0;
    pub(super) const MAJOR: usize = 4;
    pub(super) const MINOR: usize = 6;
    pub(super) const LINK_TYPE: usize = 20;
}

mod record {
    pub(super) const SECONDS: usize = 0;
    pub(super) const FRACTION: usize = 4;
    pub(super) const CAPTURED: usize = 8;
    pub(super) const ORIGINAL: usize = 12;
}

/// The only version written since 1998.
const VERSION: (u16, u16) = (2, 4);

pub(super) struct Classic {
    order: ByteOrder,
    is_in_nanoseconds: bool,
    /// Octets of a packet header.
    record: usize,
    /// Old versions have captured and original length in either order.
    is_old: bool,
    pub(super) link_type: LinkType,
}

impl Classic {
    /// Parses the file header.
    pub(super) fn new(header: &[u8]) -> Result<Self, CaptureError> {
        let (order, is_in_nanoseconds, record) = kind(header)?;
        let major = order.u16(header, field::MAJOR);
        if major != VERSION.0 {
            return Err(CaptureError::Damaged { at: 0, what: Damage::Version(major) });
        }
        let is_old = order.u16(header, field::MINOR) < VERSION.1;
        // The other half of the field is about frame check sequences.
        let link_type = LinkType((order.u32(header, field::LINK_TYPE) & 0xffff) as u16);
        Ok(Self { order, is_in_nanoseconds, record, is_old, link_type })
    }

    pub(super) fn locate(&self, bytes: &[u8]) -> Result<Found, Damage> {
        if bytes.len() < self.record {
            return Ok(Found::Needs(self.record));
        }
        let field = |at| self.order.u32(bytes, at);
        let captured = match (field(record::CAPTURED), field(record::ORIGINAL)) {
            (one, other) if self.is_old => one.min(other),
            (captured, _) => captured,
        };
        if captured > MAX_PACKET {
            return Err(Damage::PacketLength(captured));
        }
        let length = self.record + captured as usize;
        if bytes.len() < length {
            return Ok(Found::Needs(length));
        }
        let time = self.time(field(record::SECONDS), field(record::FRACTION));
        Ok(Found::Packet(Located {
            data: self.record..length,
            length,
            link_type: self.link_type,
            time: Some(time),
        }))
    }

    /// Seconds are unsigned, up to 2106.
    fn time(&self, seconds: u32, fraction: u32) -> Duration {
        let fraction = if self.is_in_nanoseconds {
            Duration::from_nanos(fraction.into())
        } else {
            Duration::from_micros(fraction.into())
        };
        Duration::from_secs(seconds.into()) + fraction
    }
}

/// Byte order, whether times are in nanoseconds, and the length of a packet header.
fn kind(header: &[u8]) -> Result<(ByteOrder, bool, usize), CaptureError> {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        match order.u32(header, field::MAGIC) {
            0xa1b2_c3d4 => return Ok((order, false, RECORD)),
            0xa1b2_3c4d => return Ok((order, true, RECORD)),
            0xa1b2_cd34 => return Ok((order, false, MODIFIED_RECORD)),
            _ => {}
        }
    }
    Err(CaptureError::UnknownFormat)
}
