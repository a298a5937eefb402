//! Qdiscs and filters on a device's TC path, over rtnetlink.
//!
//! Only what is there and how it is changed; what is ours of it is with [`super::clsact`].

use std::{
    fmt, io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption},
};
use rustix::io::Errno;

use super::path::TcPath;
use crate::host::{
    device::Device,
    netlink::{Connection, Reply, attributes, number, text},
};

/// Attributes of qdiscs and filters (`include/uapi/linux/rtnetlink.h`).
mod attribute {
    pub(super) const KIND: u16 = 1;
    pub(super) const OPTIONS: u16 = 2;
    pub(super) const CHAIN: u16 = 11;
}

/// Options of a filter of the kind `bpf` (`include/uapi/linux/pkt_cls.h`).
mod option {
    pub(super) const NAME: u16 = 7;
    pub(super) const TAG: u16 = 10;
    pub(super) const ID: u16 = 11;
}

/// Length of `struct tcmsg`, behind which the attributes are.
const HEADER: usize = 20;

/// The kind of our filters.
const BPF: &str = "bpf";

/// `ETH_P_ALL`: a filter for packets of any protocol.
const ANY_PROTOCOL: u16 = 3;

/// The kernel's hash of a program's instructions.
pub(super) type Tag = [u8; 8];

/// A filter on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) place: Place,
    pub(super) kind: String,
    /// Filters of another chain than 0 are run only by those that lead there.
    pub(super) chain: u32,
    pub(super) is_for_any_protocol: bool,
    /// Of a filter of the kind `bpf`.
    pub(super) program: Option<Program>,
}

/// The program of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// That it was attached with.
    pub(super) name: String,
    pub(super) tag: Tag,
    pub(super) id: u32,
}

/// Where a filter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: TcPath,
    /// The lowest is asked first.
    pub(super) priority: u16,
    pub(super) handle: u32,
}

/// In words, for a message.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { path, priority, .. } = self.place;
        write!(f, "the TC filter of kind {} with priority {priority} on {path}", self.kind)
    }
}

impl Filter {
    /// Whether a filter of ours can have its priority.
    pub(super) fn shares_its_priority(&self) -> bool {
        self.kind == BPF && self.is_for_any_protocol
    }
}

/// The TC path of a device.
pub(super) struct Tc {
    connection: Connection,
    index: i32,
}

impl Tc {
    pub(super) fn of(device: &Device) -> io::Result<Self> {
        let index = i32::try_from(device.index).unwrap_or(i32::MAX);
        Ok(Self { connection: Connection::to_route()?, index })
    }

    /// Adds a clsact qdisc; EEXIST where there is one, or one of another kind.
    pub(super) fn add_qdisc(&mut self) -> io::Result<()> {
        let mut message = self.qdisc();
        message.attributes.push(TcAttribute::Kind("clsact".to_owned()));
        let command = RouteNetlinkMessage::NewQueueDiscipline(message);
        self.connection.command(command, NLM_F_CREATE | NLM_F_EXCL)
    }

    pub(super) fn delete_qdisc(&mut self) -> io::Result<()> {
        let command = RouteNetlinkMessage::DelQueueDiscipline(self.qdisc());
        self.connection.command(command, 0)
    }

    /// What stands in the place of a clsact qdisc, by its kind.
    pub(super) fn qdisc_kind(&mut self) -> io::Result<Option<String>> {
        let question = RouteNetlinkMessage::GetQueueDiscipline(self.qdisc());
        let replies = self.connection.dump(&question)?;
        let ours = replies.iter().filter(|reply| {
            TcHeader::parse(&reply.payload)
                .is_ok_and(|header| header.index == self.index && header.parent == TcHandle::CLSACT)
        });
        Ok(ours.filter_map(|reply| value(reply, attribute::KIND)).map(text).next())
    }

    /// All filters of one path; none where there is no qdisc.
    pub(super) fn filters(&mut self, path: TcPath) -> io::Result<Vec<Filter>> {
        let question = RouteNetlinkMessage::GetTrafficFilter(self.side(path));
        match self.connection.dump(&question) {
            Err(error) if is_gone(&error) => Ok(Vec::new()),
            replies => Ok(replies?.iter().filter_map(|it| Filter::read(it, path)).collect()),
        }
    }

    /// The filter in this place.
    pub(super) fn filter(&mut self, place: Place) -> io::Result<Option<Filter>> {
        let question = RouteNetlinkMessage::GetTrafficFilter(self.place(place));
        match self.connection.get(question) {
            Err(error) if is_gone(&error) => Ok(None),
            reply => Ok(Filter::read(&reply?, place.path)),
        }
    }

    /// Adds a filter that runs a program and takes its verdict.
    pub(super) fn add(
        &mut self,
        place: Place,
        program: BorrowedFd<'_>,
        name: &str,
    ) -> io::Result<()> {
        let options = [
            TcFilterBpfOption::ProgFd(program.as_raw_fd().cast_unsigned()),
            TcFilterBpfOption::ProgName(name.to_owned()),
            TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
        ];
        let mut message = self.place(place);
        message.attributes.push(TcAttribute::Options(options.map(TcOption::Bpf).into()));
        let command = RouteNetlinkMessage::NewTrafficFilter(message);
        self.connection.command(command, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Deletes a filter; whether it was there.
    pub(super) fn delete(&mut self, place: Place) -> io::Result<bool> {
        let command = RouteNetlinkMessage::DelTrafficFilter(self.place(place));
        match self.connection.command(command, 0) {
            Err(error) if is_gone(&error) => Ok(false),
            deleted => deleted.map(|()| true),
        }
    }

    fn qdisc(&self) -> TcMessage {
        let mut message = TcMessage::with_index(self.index);
        message.header.handle = TcHandle { major: TcHandle::CLSACT.major, minor: 0 };
        message.header.parent = TcHandle::CLSACT;
        message
    }

    fn side(&self, path: TcPath) -> TcMessage {
        let minor = match path {
            TcPath::Ingress => TcHandle::MIN_INGRESS,
            TcPath::Egress => TcHandle::MIN_EGRESS,
        };
        let mut message = TcMessage::with_index(self.index);
        message.header.parent = TcHandle { major: TcHandle::CLSACT.major, minor };
        message
    }

    fn place(&self, place: Place) -> TcMessage {
        let mut message = self.side(place.path);
        message.header.handle = TcHandle::from(place.handle);
        message.header.info = u32::from(place.priority) << 16 | u32::from(ANY_PROTOCOL.to_be());
        message.attributes.push(TcAttribute::Kind(BPF.to_owned()));
        message
    }
}

impl Filter {
    /// The kernel lists each chain's head too, with handle 0 and without options.
    fn read(reply: &Reply, path: TcPath) -> Option<Self> {
        let header = TcHeader::parse(&reply.payload).ok()?;
        let handle = u32::from(header.handle);
        let options = value(reply, attribute::OPTIONS)?;
        // tcm_info: the priority, and the protocol in the order of the network.
        let halves = [header.info >> 16, header.info & 0xffff];
        let [priority, protocol] = halves.map(|half| u16::try_from(half).unwrap_or_default());
        (handle != 0).then(|| Self {
            place: Place { path, priority, handle },
            kind: value(reply, attribute::KIND).map(text).unwrap_or_default(),
            chain: value(reply, attribute::CHAIN).and_then(number).unwrap_or_default(),
            is_for_any_protocol: protocol == ANY_PROTOCOL.to_be(),
            program: Program::read(options),
        })
    }
}

impl Program {
    fn read(options: &[u8]) -> Option<Self> {
        let value =
            |kind| attributes(options).find_map(|(it, value)| (it == kind).then_some(value));
        Some(Self {
            name: value(option::NAME).map(text).unwrap_or_default(),
            tag: value(option::TAG)?.try_into().ok()?,
            id: number(value(option::ID)?)?,
        })
    }
}

fn value(reply: &Reply, kind: u16) -> Option<&[u8]> {
    reply.attributes(HEADER).find_map(|(it, value)| (it == kind).then_some(value))
}

/// What the kernel says of a filter, a qdisc or a device that is no more.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::INVAL | Errno::NODEV))
}
