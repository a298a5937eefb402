//! Frames without IP, by their unsupported `EtherType`.

use std::{fmt, ops::AddAssign};

use conntrack_common::wire::{encapsulation::NO_TYPE, mpls, pppoe};

/// `EtherType`s to count separately. A hostile sender could use 65,536.
const KINDS: usize = 16;

/// Frames by `EtherType`; beyond [`KINDS`] types, the rest as one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    kinds: [(EtherType, u64); KINDS],
    others: u64,
}

/// An `EtherType`, or [`NO_TYPE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EtherType(pub u16);

impl Unread {
    /// Counts frames of one `EtherType`.
    pub fn count(&mut self, ether_type: EtherType, frames: u64) {
        let is_its_own =
            |(kind, counted): &&mut (EtherType, u64)| *counted == 0 || *kind == ether_type;
        match self.kinds.iter_mut().find(is_its_own) {
            Some(kind) => *kind = (ether_type, kind.1 + frames),
            None => self.others += frames,
        }
    }

    /// The most frequent `EtherType`, and its frames.
    pub fn most(&self) -> Option<(EtherType, u64)> {
        self.sorted().into_iter().next()
    }

    /// Whether no frame was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Most frequent first.
    fn sorted(&self) -> Vec<(EtherType, u64)> {
        let mut kinds: Vec<_> = self.kinds.into_iter().filter(|(_, frames)| *frames > 0).collect();
        kinds.sort_by_key(|(kind, frames)| (u64::MAX - frames, *kind));
        kinds
    }
}

impl AddAssign for Unread {
    fn add_assign(&mut self, others: Self) {
        for (kind, frames) in others.sorted() {
            self.count(kind, frames);
        }
        self.others += others.others;
    }
}

/// Each `EtherType` with its number of frames, most frequent first.
impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.sorted().into_iter().map(|(kind, frames)| format!("{kind}: {frames}"));
        let others = (self.others > 0).then(|| format!("others: {}", self.others));
        f.write_str(&kinds.chain(others).collect::<Vec<_>>().join(", "))
    }
}

/// Name, if known, and number.
impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.name()) {
            (NO_TYPE, _) => f.write_str("IEEE 802.3 without an EtherType"),
            (number, Some(name)) => write!(f, "{name} (EtherType {number:#06x})"),
            (number, None) => write!(f, "EtherType {number:#06x}"),
        }
    }
}

impl EtherType {
    /// Whether it is a control protocol between neighbours, which never carries IP.
    pub const fn is_control(self) -> bool {
        matches!(self.0, NO_TYPE | 0x0806 | 0x8808 | 0x8809 | 0x8863 | 0x888e | 0x88cc | 0x88f7)
    }

    /// Common ones of <https://www.iana.org/assignments/ieee-802-numbers>.
    const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0x0806 => "ARP",
            0x22f3 => "TRILL",
            0x6558 => "bridged Ethernet",
            0x8137 => "IPX",
            0x8808 => "flow control",
            0x8809 => "LACP",
            mpls::UNICAST | mpls::MULTICAST => "MPLS without IP",
            0x8863 => "PPPoE discovery",
            pppoe::SESSION => "PPPoE without IP",
            0x888e => "EAPOL",
            0x8892 => "PROFINET",
            0x88a2 => "ATA over Ethernet",
            0x88a4 => "EtherCAT",
            0x88b8 => "GOOSE",
            0x88cc => "LLDP",
            0x88e5 => "MACsec",
            0x88f7 => "PTP",
            0x88fb => "PRP",
            0x892f => "HSR",
            0x894f => "NSH",
            0x8906 => "FCoE",
            0x8915 => "RoCE",
            0x9000 => "loopback test",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARP: u16 = 0x0806;
    const MACSEC: u16 = 0x88e5;

    #[test]
    fn the_most_frequent_is_first() {
        let mut unread = Unread::default();
        assert!(unread.is_empty() && unread.most().is_none());
        for ether_type in [ARP, MACSEC, 0xffff, MACSEC] {
            unread.count(EtherType(ether_type), 1);
        }
        assert_eq!(unread.most(), Some((EtherType(MACSEC), 2)));
        assert_eq!(
            unread.to_string(),
            "MACsec (EtherType 0x88e5): 2, ARP (EtherType 0x0806): 1, EtherType 0xffff: 1"
        );
    }

    #[test]
    fn however_many_kinds_there_are_all_frames_are_counted() {
        let mut unread = Unread::default();
        for ether_type in 0x9000..0x9100 {
            unread.count(EtherType(ether_type), 2);
        }
        assert!(unread.to_string().ends_with(", others: 480"), "{unread}");
        let twice = unread;
        unread += twice;
        assert!(unread.to_string().ends_with(", others: 960"), "{unread}");
        assert!(
            unread.to_string().starts_with("loopback test (EtherType 0x9000): 4, "),
            "{unread}"
        );
    }
}
