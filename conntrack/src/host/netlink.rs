//! Questions to the kernel over netlink (RFC 3549): request out, all answers back, synchronous.
//!
//! Only the conversation; what is asked and what the answers mean is with those who ask.

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_sys::{
    Socket, SocketAddr,
    protocols::{NETLINK_ROUTE, NETLINK_SOCK_DIAG},
};

/// The messages of one netlink protocol.
pub(crate) trait Message: NetlinkSerializable + NetlinkDeserializable {
    /// The kernel's number for it.
    const PROTOCOL: isize;
}

impl Message for RouteNetlinkMessage {
    const PROTOCOL: isize = NETLINK_ROUTE;
}

impl Message for SockDiagMessage {
    const PROTOCOL: isize = NETLINK_SOCK_DIAG;
}

/// The kernel's answers to a question about many things.
///
/// # Errors
/// What the kernel answered, or a reply that is none.
pub(crate) fn dump<M: Message>(question: M) -> io::Result<Vec<M>> {
    let mut answers = Vec::new();
    dump_each(question, |answer| answers.push(answer))?;
    Ok(answers)
}

/// The same, one answer after the other: there may be more than should be kept.
///
/// # Errors
/// As for [`dump`].
pub(crate) fn dump_each<M: Message>(question: M, each: impl FnMut(M)) -> io::Result<()> {
    converse(question, NLM_F_DUMP, each)
}

/// Has the kernel do something.
///
/// # Errors
/// The kernel's refusal.
#[cfg(feature = "ebpf")]
pub(crate) fn command(command: RouteNetlinkMessage) -> io::Result<()> {
    converse(command, netlink_packet_core::NLM_F_ACK, |_answer| {})
}

fn converse<M: Message>(message: M, flags: u16, mut each: impl FnMut(M)) -> io::Result<()> {
    let mut socket = Socket::new(M::PROTOCOL)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&datagram(message, flags), 0)?;
    loop {
        let (bytes, _sender) = socket.recv_from_full()?;
        if take(&bytes, &mut each)? {
            return Ok(());
        }
    }
}

fn datagram<M: Message>(message: M, flags: u16) -> Vec<u8> {
    let payload = NetlinkPayload::InnerMessage(message);
    let mut packet = NetlinkMessage::new(NetlinkHeader::default(), payload);
    packet.header.flags = NLM_F_REQUEST | flags;
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    bytes
}

/// Takes the messages out of one datagram; whether they were the last.
fn take<M: Message>(mut bytes: &[u8], each: &mut impl FnMut(M)) -> io::Result<bool> {
    while !bytes.is_empty() {
        let message = NetlinkMessage::<M>::deserialize(bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        match message.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            // A dump that failed ends like one that did not, but for its code.
            NetlinkPayload::Done(end) if end.code < 0 => {
                return Err(io::Error::from_raw_os_error(end.code.saturating_neg()));
            }
            // The end of a dump, or an acknowledgement: an error with the code 0.
            NetlinkPayload::Done(_) | NetlinkPayload::Error(_) => return Ok(true),
            NetlinkPayload::InnerMessage(answer) => each(answer),
            _ => {}
        }
        // Messages are aligned to 4 octets (NLMSG_ALIGN).
        let length = (message.header.length as usize).next_multiple_of(4).max(4);
        bytes = bytes.get(length..).unwrap_or_default();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NLMSG_DONE;
    use netlink_packet_route::link::LinkMessage;

    use super::*;

    /// The end of a dump: a header of 16 octets and the code.
    fn end(code: i32) -> Vec<u8> {
        let mut bytes = vec![0; 20];
        bytes[..4].copy_from_slice(&20_u32.to_ne_bytes());
        bytes[4..6].copy_from_slice(&NLMSG_DONE.to_ne_bytes());
        bytes[16..].copy_from_slice(&code.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_dump_that_fails_at_its_end_is_an_error() {
        let mut links = 0;
        let mut take = |bytes: &[u8]| take(bytes, &mut |_: RouteNetlinkMessage| links += 1);
        let link = datagram(RouteNetlinkMessage::NewLink(LinkMessage::default()), 0);
        assert!(!take(&link).expect("a link"));
        assert!(take(&[&link[..], &end(0)].concat()).expect("the end"));
        let error = take(&end(-2)).expect_err("it failed");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(take(&end(i32::MIN)).is_err());
        assert_eq!(links, 2);
    }

    #[test]
    fn what_is_cut_short_is_an_error_and_no_panic() {
        let link = datagram(RouteNetlinkMessage::NewLink(LinkMessage::default()), 0);
        let whole = [&link[..], &end(0)].concat();
        for length in 1..whole.len() {
            let taken = take(&whole[..length], &mut |_: RouteNetlinkMessage| {});
            assert!(length == link.len() || taken.is_err(), "{length} bytes: {taken:?}");
        }
    }
}
