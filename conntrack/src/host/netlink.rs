//! Questions to the kernel over netlink (RFC 3549): a request, and all replies to it, synchronous.
//!
//! Only the conversation; what is asked and what the replies mean is with those who ask. A reply of
//! rtnetlink is handed over as its header and attributes, and whoever asked reads the attributes that it
//! needs: so what nobody needs (an alias that is no text, a statistic that is unknown) cannot be wrong.

use std::io;

use netlink_packet_core::{
    NLA_HEADER_SIZE, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_sys::{
    Socket, SocketAddr,
    protocols::{NETLINK_NETFILTER, NETLINK_ROUTE, NETLINK_SOCK_DIAG},
};
use rustix::{
    io::retry_on_intr,
    net::{RecvFlags, recv},
};

/// What the kernel fills at most with the replies of a dump (`netlink_recvmsg` in the kernel's
/// `net/netlink/af_netlink.c`). A single reply can be longer.
const BUFFER: usize = 32 << 10;

/// Times that a dump is asked for again because something changed while it went on.
const ATTEMPTS: usize = 4;

/// A question to one netlink protocol.
pub(crate) trait Question: NetlinkSerializable {
    /// What its replies are read as.
    type Reply: NetlinkDeserializable;
}

impl Question for RouteNetlinkMessage {
    type Reply = Reply;
}

impl Question for SockDiagMessage {
    type Reply = Self;
}

/// A reply of rtnetlink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Its type, `RTM_*`.
    pub(crate) kind: u16,
    /// A header of fixed length, then attributes.
    pub(crate) payload: Vec<u8>,
}

impl NetlinkDeserializable for Reply {
    type Error = io::Error;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> io::Result<Self> {
        Ok(Self { kind: header.message_type, payload: payload.to_vec() })
    }
}

impl Reply {
    /// The attributes behind a header of this length.
    pub(crate) fn attributes(&self, header: usize) -> impl Iterator<Item = (u16, &[u8])> {
        attributes(self.payload.get(header..).unwrap_or_default())
    }
}

/// Attributes with their kinds, up to the first that is cut short.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|attribute| {
        let kind = attribute.kind();
        let length = usize::from(attribute.length());
        let value = attribute.into_inner().get(NLA_HEADER_SIZE..length);
        (kind, value.unwrap_or_default())
    })
}

/// A number in the machine's byte order.
pub(crate) fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(value.try_into().ok()?))
}

/// Text that ends with a zero; what is no UTF-8 in it is replaced.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// A socket that is kept: asking takes no new descriptor, of which there may be none left.
pub(crate) struct Connection {
    protocol: isize,
    socket: Socket,
    /// Of the last question; replies to earlier ones are passed over.
    sequence: u32,
    buffer: Vec<u8>,
    /// The last conversation broke off, and the kernel may not be done with it.
    is_broken: bool,
}

impl Connection {
    /// To rtnetlink.
    ///
    /// # Errors
    /// That there can be no socket.
    pub(crate) fn to_route() -> io::Result<Self> {
        Self::open(NETLINK_ROUTE)
    }

    /// To `sock_diag`.
    ///
    /// # Errors
    /// That there can be no socket: this kernel may have no `sock_diag`.
    pub(crate) fn to_sock_diag() -> io::Result<Self> {
        Self::open(NETLINK_SOCK_DIAG)
    }

    /// To netfilter.
    ///
    /// # Errors
    /// That there can be no socket: this kernel may have no netfilter.
    pub(crate) fn to_netfilter() -> io::Result<Self> {
        Self::open(NETLINK_NETFILTER)
    }

    fn open(protocol: isize) -> io::Result<Self> {
        let socket = connected(protocol)?;
        Ok(Self { protocol, socket, sequence: 0, buffer: vec![0; BUFFER], is_broken: false })
    }

    /// The kernel's reply to a question about one thing.
    ///
    /// # Errors
    /// What the kernel answered, or that it did not say anything.
    pub(crate) fn get<Q: Question>(&mut self, question: Q) -> io::Result<Q::Reply> {
        let mut reply = None;
        self.converse(question, NLM_F_ACK, |it| reply = Some(it))?;
        reply.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "an empty reply"))
    }

    /// The kernel's replies to a question about many things.
    ///
    /// # Errors
    /// What the kernel answered, or a reply that is none.
    pub(crate) fn dump<Q: Question + Clone>(&mut self, question: &Q) -> io::Result<Vec<Q::Reply>> {
        let mut replies = Vec::new();
        for _ in 0..ATTEMPTS {
            replies.clear();
            if self.converse(question.clone(), NLM_F_DUMP, |reply| replies.push(reply))? {
                break;
            }
        }
        Ok(replies)
    }

    /// The same, one reply after the other: there may be more than should be kept. They are not of one
    /// moment.
    ///
    /// # Errors
    /// As for [`Self::dump`].
    pub(crate) fn dump_each<Q: Question>(
        &mut self,
        question: Q,
        each: impl FnMut(Q::Reply),
    ) -> io::Result<()> {
        self.converse(question, NLM_F_DUMP, each).map(|_consistent| ())
    }

    /// Has the kernel do something.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(crate) fn command<Q: Question>(&mut self, command: Q, flags: u16) -> io::Result<()> {
        self.converse(command, NLM_F_ACK | flags, |_reply| {}).map(|_consistent| ())
    }

    /// Whether the replies are of one moment: nothing changed while they were given.
    fn converse<Q: Question>(
        &mut self,
        question: Q,
        flags: u16,
        mut each: impl FnMut(Q::Reply),
    ) -> io::Result<bool> {
        if self.is_broken {
            self.socket = connected(self.protocol)?;
        }
        self.is_broken = true;
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&datagram(question, flags, self.sequence), 0)?;
        let mut is_consistent = true;
        loop {
            let length = self.receive()?;
            let datagram = &self.buffer[..length];
            let taken = take(datagram, self.sequence, &mut is_consistent, &mut each);
            // Only what could not be read leaves the conversation open.
            self.is_broken =
                taken.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::InvalidData);
            if taken? {
                return Ok(is_consistent);
            }
        }
    }

    /// One datagram, however long it is; its length.
    fn receive(&mut self) -> io::Result<usize> {
        let Self { socket, buffer, .. } = self;
        let length_only = RecvFlags::PEEK | RecvFlags::TRUNC;
        let (_none, length) = retry_on_intr(|| recv(&*socket, &mut [0; 0], length_only))?;
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let (received, _) = retry_on_intr(|| recv(&*socket, &mut buffer[..], RecvFlags::empty()))?;
        Ok(received)
    }
}

fn connected(protocol: isize) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

fn datagram<Q: Question>(question: Q, flags: u16, sequence: u32) -> Vec<u8> {
    let payload = NetlinkPayload::InnerMessage(question);
    let mut packet = NetlinkMessage::new(NetlinkHeader::default(), payload);
    packet.header.flags = NLM_F_REQUEST | flags;
    packet.header.sequence_number = sequence;
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    bytes
}

/// Takes the messages out of one datagram; whether they were the last.
fn take<R: NetlinkDeserializable>(
    mut bytes: &[u8],
    sequence: u32,
    is_consistent: &mut bool,
    each: &mut impl FnMut(R),
) -> io::Result<bool> {
    while !bytes.is_empty() {
        let message = NetlinkMessage::<R>::deserialize(bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        // Messages are aligned to 4 octets (NLMSG_ALIGN).
        let length = (message.header.length as usize).next_multiple_of(4).max(4);
        bytes = bytes.get(length..).unwrap_or_default();
        if message.header.sequence_number != sequence {
            continue;
        }
        *is_consistent &= message.header.flags & NLM_F_DUMP_INTR == 0;
        match message.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            // A dump that failed ends like one that did not, but for its code.
            NetlinkPayload::Done(end) if end.code < 0 => {
                return Err(io::Error::from_raw_os_error(end.code.saturating_neg()));
            }
            // The end of a dump, or an acknowledgement: an error with the code 0.
            NetlinkPayload::Done(_) | NetlinkPayload::Error(_) => return Ok(true),
            NetlinkPayload::InnerMessage(reply) => each(reply),
            _ => {}
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NLMSG_DONE;
    use netlink_packet_route::link::{LinkAttribute, LinkMessage};

    use super::*;

    const SEQUENCE: u32 = 7;

    /// The end of a dump: a header of 16 octets and the code.
    fn end(code: i32) -> Vec<u8> {
        let mut bytes = vec![0; 20];
        bytes[..4].copy_from_slice(&20_u32.to_ne_bytes());
        bytes[4..6].copy_from_slice(&NLMSG_DONE.to_ne_bytes());
        bytes[8..12].copy_from_slice(&SEQUENCE.to_ne_bytes());
        bytes[16..].copy_from_slice(&code.to_ne_bytes());
        bytes
    }

    fn link() -> Vec<u8> {
        datagram(RouteNetlinkMessage::NewLink(LinkMessage::default()), 0, SEQUENCE)
    }

    fn taken(bytes: &[u8], links: &mut usize) -> io::Result<bool> {
        take(bytes, SEQUENCE, &mut true, &mut |_: Reply| *links += 1)
    }

    #[test]
    fn a_dump_that_fails_at_its_end_is_an_error() {
        let mut links = 0;
        assert!(!taken(&link(), &mut links).expect("a link"));
        assert!(taken(&[&link()[..], &end(0)].concat(), &mut links).expect("the end"));
        let error = taken(&end(-2), &mut links).expect_err("it failed");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(taken(&end(i32::MIN), &mut links).is_err());
        assert_eq!(links, 2);
    }

    #[test]
    fn what_is_cut_short_is_an_error_and_no_panic() {
        let whole = [&link()[..], &end(0)].concat();
        for length in 1..whole.len() {
            let taken = taken(&whole[..length], &mut 0);
            assert!(length == link().len() || taken.is_err(), "{length} bytes: {taken:?}");
        }
    }

    #[test]
    fn replies_to_an_earlier_question_are_passed_over() {
        let mut links = 0;
        let earlier = datagram(RouteNetlinkMessage::NewLink(LinkMessage::default()), 0, 6);
        let mixed = [&earlier[..], &link(), &end(0)].concat();
        assert!(taken(&mixed, &mut links).expect("the end"));
        assert_eq!(links, 1);
    }

    #[test]
    fn a_dump_that_was_interrupted_is_told_from_one_of_one_moment() {
        let mut interrupted = link();
        interrupted[6..8].copy_from_slice(&NLM_F_DUMP_INTR.to_ne_bytes());
        for (bytes, expected) in [(link(), true), (interrupted, false)] {
            let mut is_consistent = true;
            let ended = take(&bytes, SEQUENCE, &mut is_consistent, &mut |_: Reply| {});
            assert!(!ended.expect("a link"));
            assert_eq!(is_consistent, expected);
        }
    }

    #[test]
    fn attributes_are_read_up_to_one_that_is_cut_short() {
        let mut message = LinkMessage::default();
        message.attributes =
            vec![LinkAttribute::IfName("eth0".to_owned()), LinkAttribute::Mtu(1500)];
        let bytes = datagram(RouteNetlinkMessage::NewLink(message), 0, SEQUENCE);
        let payload = &bytes[16..];
        for length in 0..payload.len() {
            let reply = Reply { kind: 0, payload: payload[..length].to_vec() };
            let found: Vec<_> = reply.attributes(16).collect();
            let [name, mtu]: [(u16, &[u8]); 2] = [(3, b"eth0\0"), (4, &1500_u32.to_ne_bytes())];
            // What pads the name belongs to nothing.
            let whole = usize::from(length >= 16 + 9) + usize::from(length >= 16 + 12 + 8);
            assert_eq!(found, [name, mtu][..whole], "{length} bytes");
        }
    }

    #[test]
    fn a_connection_is_asked_again_after_a_refusal() {
        let mut connection = Connection::to_route().expect("a socket");
        let mut no_such_device = LinkMessage::default();
        no_such_device.attributes.push(LinkAttribute::IfName("nosuchdev0".to_owned()));
        let refused = connection.get(RouteNetlinkMessage::GetLink(no_such_device));
        assert!(refused.is_err());
        let links = connection.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()));
        assert!(!links.expect("a list").is_empty());
    }
}
