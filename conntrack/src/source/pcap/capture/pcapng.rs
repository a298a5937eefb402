//! pcapng (draft-ietf-opsawg-pcapng): section headers, interface descriptions and packet blocks are read,
//! other blocks are skipped. Each interface has its own link type, snap length and clock.
//!
//! The crate parses the fields of a block. Block lengths and times are handled here: the crate does not
//! bound lengths, rejects binary time resolutions, and reads time offsets as little-endian in every file.

use std::time::Duration;

use pcap_parser::{
    EPB_MAGIC, IDB_MAGIC, OptionCode, PcapError, SHB_MAGIC, SPB_MAGIC,
    nom::IResult,
    pcapng::{
        parse_enhancedpacketblock_be, parse_enhancedpacketblock_le,
        parse_interfacedescriptionblock_be, parse_interfacedescriptionblock_le,
        parse_sectionheaderblock, parse_simplepacketblock_be, parse_simplepacketblock_le,
    },
};

use super::{
    byte_order::ByteOrder,
    error::Damage,
    located::{Found, LinkType, Located, MAX_PACKET},
};

/// Octets of the longest block to read. Skipped blocks may be longer.
pub(super) const MAX_BLOCK: u32 = 1 << 24;

/// Interfaces of a section at most; a file needs only 20 octets for one.
const MAX_INTERFACES: usize = 1 << 16;

/// Type of the obsolete packet block, before enhanced packet blocks.
const OBSOLETE_PACKET: u32 = 2;

/// Every block: type and length, and the length again at its end.
mod block {
    pub(super) const TYPE: usize = 0;
    pub(super) const LENGTH: usize = 4;
    /// Section header only.
    pub(super) const BYTE_ORDER: usize = 8;
    /// The shortest block.
    pub(super) const MIN: usize = 12;
    /// Octets of the length at the end.
    pub(super) const TRAILER: usize = 4;
    /// Offset of the data in enhanced and obsolete packet blocks.
    pub(super) const PACKET_DATA: usize = 28;
    /// Offset of the data in simple packet blocks.
    pub(super) const SIMPLE_PACKET_DATA: usize = 12;
}

/// The byte-order magic of a section header.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// Whether a file starts with a section header, whose type reads the same in both byte orders.
pub(super) fn is_pcapng(bytes: &[u8]) -> bool {
    ByteOrder::Little.u32(bytes, block::TYPE) == SHB_MAGIC
}

/// The current section.
#[derive(Default)]
pub(super) struct Pcapng {
    order: ByteOrder,
    interfaces: Vec<Interface>,
}

struct Interface {
    link_type: LinkType,
    /// 0 means unlimited.
    snap_length: u32,
    clock: Clock,
}

impl Pcapng {
    pub(super) fn locate(&mut self, bytes: &[u8]) -> Result<Found, Damage> {
        if bytes.len() < block::MIN {
            return Ok(Found::Needs(block::MIN));
        }
        let kind = self.order.u32(bytes, block::TYPE);
        if kind == SHB_MAGIC {
            self.order = byte_order(bytes).ok_or(Damage::Block(kind))?;
        }
        let length = self.order.u32(bytes, block::LENGTH);
        if !length.is_multiple_of(4) || (length as usize) < block::MIN {
            return Err(Damage::BlockLength(length));
        }
        if ![SHB_MAGIC, IDB_MAGIC, EPB_MAGIC, SPB_MAGIC, OBSOLETE_PACKET].contains(&kind) {
            return Ok(Found::Other(length));
        }
        if length > MAX_BLOCK {
            return Err(Damage::BlockLength(length));
        }
        let Some(block) = bytes.get(..length as usize) else {
            return Ok(Found::Needs(length as usize));
        };
        if self.order.u32(block, block.len() - block::TRAILER) != length {
            return Err(Damage::BlockLength(length));
        }
        self.read(kind, block)
    }

    fn read(&mut self, kind: u32, block: &[u8]) -> Result<Found, Damage> {
        match kind {
            SHB_MAGIC => self.begin_section(block)?,
            IDB_MAGIC => self.describe_interface(block)?,
            SPB_MAGIC => return self.simple_packet(block),
            EPB_MAGIC => return self.enhanced_packet(block),
            _ => return self.obsolete_packet(block),
        }
        Ok(Found::Other(length(block)))
    }

    fn begin_section(&mut self, block: &[u8]) -> Result<(), Damage> {
        let header = parsed(SHB_MAGIC, parse_sectionheaderblock(block))?;
        if header.major_version != 1 {
            return Err(Damage::Version(header.major_version));
        }
        self.interfaces.clear();
        Ok(())
    }

    fn describe_interface(&mut self, block: &[u8]) -> Result<(), Damage> {
        let description = match self.order {
            ByteOrder::Little => parsed(IDB_MAGIC, parse_interfacedescriptionblock_le(block))?,
            ByteOrder::Big => parsed(IDB_MAGIC, parse_interfacedescriptionblock_be(block))?,
        };
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(Damage::Interfaces(MAX_INTERFACES));
        }
        let offset = description.options.iter().find(|it| it.code == OptionCode::IfTsoffset);
        let offset = offset.and_then(|it| it.value.first_chunk().copied());
        self.interfaces.push(Interface {
            // A field of 16 bits.
            link_type: LinkType(u16::try_from(description.linktype.0).unwrap_or(u16::MAX)),
            snap_length: description.snaplen,
            clock: Clock {
                resolution: description.if_tsresol,
                offset: offset.map_or(0, |octets| match self.order {
                    ByteOrder::Little => i64::from_le_bytes(octets),
                    ByteOrder::Big => i64::from_be_bytes(octets),
                }),
            },
        });
        Ok(())
    }

    fn enhanced_packet(&self, block: &[u8]) -> Result<Found, Damage> {
        let packet = match self.order {
            ByteOrder::Little => parsed(EPB_MAGIC, parse_enhancedpacketblock_le(block))?,
            ByteOrder::Big => parsed(EPB_MAGIC, parse_enhancedpacketblock_be(block))?,
        };
        let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
        self.packet(block, packet.if_id, ticks, packet.caplen)
    }

    /// Like an enhanced packet block, but with an interface of 16 bits and a drop count.
    fn obsolete_packet(&self, block: &[u8]) -> Result<Found, Damage> {
        if block.len() < block::PACKET_DATA + block::TRAILER {
            return Err(Damage::Block(OBSOLETE_PACKET));
        }
        let [high, low, captured] = [12, 16, 20].map(|at| self.order.u32(block, at));
        let ticks = u64::from(high) << 32 | u64::from(low);
        self.packet(block, self.order.u16(block, 8).into(), ticks, captured)
    }

    fn packet(&self, block: &[u8], id: u32, ticks: u64, captured: u32) -> Result<Found, Damage> {
        let interface = self.interface(id)?;
        if captured > MAX_PACKET {
            return Err(Damage::PacketLength(captured));
        }
        let end = block::PACKET_DATA + captured as usize;
        if end + block::TRAILER > block.len() {
            return Err(Damage::PacketLength(captured));
        }
        Ok(Found::Packet(Located {
            data: block::PACKET_DATA..end,
            length: block.len(),
            link_type: interface.link_type,
            time: Some(interface.clock.time(ticks)),
        }))
    }

    /// On the first interface, without time and captured length.
    fn simple_packet(&self, block: &[u8]) -> Result<Found, Damage> {
        let packet = match self.order {
            ByteOrder::Little => parsed(SPB_MAGIC, parse_simplepacketblock_le(block))?,
            ByteOrder::Big => parsed(SPB_MAGIC, parse_simplepacketblock_be(block))?,
        };
        let interface = self.interface(0)?;
        let limit = match interface.snap_length {
            0 => u32::MAX,
            limit => limit,
        };
        let captured = packet.data.len().min(packet.origlen.min(limit) as usize);
        Ok(Found::Packet(Located {
            data: block::SIMPLE_PACKET_DATA..block::SIMPLE_PACKET_DATA + captured,
            length: block.len(),
            link_type: interface.link_type,
            time: None,
        }))
    }

    fn interface(&self, id: u32) -> Result<&Interface, Damage> {
        self.interfaces.get(id as usize).ok_or(Damage::Interface(id))
    }
}

/// By the byte-order magic of a section header.
fn byte_order(bytes: &[u8]) -> Option<ByteOrder> {
    let orders = [ByteOrder::Little, ByteOrder::Big];
    orders.into_iter().find(|order| order.u32(bytes, block::BYTE_ORDER) == BYTE_ORDER)
}

/// The fields of a block.
fn parsed<T>(kind: u32, block: IResult<&[u8], T, PcapError<&[u8]>>) -> Result<T, Damage> {
    block.map(|(_rest, fields)| fields).map_err(|_where| Damage::Block(kind))
}

/// Length of a block that was checked.
fn length(block: &[u8]) -> u32 {
    u32::try_from(block.len()).unwrap_or(MAX_BLOCK)
}

/// An interface's clock.
#[derive(Clone, Copy)]
struct Clock {
    /// Negative power of 10 of a second, or of 2 with the highest bit set.
    resolution: u8,
    /// Seconds to add.
    offset: i64,
}

impl Clock {
    /// Time since 1970, saturating.
    fn time(self, ticks: u64) -> Duration {
        const BINARY: u8 = 0x80;
        let exponent = u32::from(self.resolution & !BINARY);
        let base: u128 = if self.resolution & BINARY == 0 { 10 } else { 2 };
        // With such a resolution 64 bits of ticks are less than a second.
        let Some(per_second) = base.checked_pow(exponent) else { return self.since_1970(0, 0) };
        let ticks = u128::from(ticks);
        let nanoseconds = (ticks % per_second).checked_mul(1_000_000_000);
        let nanoseconds = nanoseconds.map_or(0, |nanoseconds| nanoseconds / per_second);
        self.since_1970(ticks / per_second, nanoseconds)
    }

    fn since_1970(self, seconds: u128, nanoseconds: u128) -> Duration {
        let seconds =
            i128::try_from(seconds).unwrap_or(i128::MAX).saturating_add(self.offset.into());
        if seconds < 0 {
            return Duration::ZERO;
        }
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        Duration::new(seconds, u32::try_from(nanoseconds).unwrap_or_default())
    }
}
