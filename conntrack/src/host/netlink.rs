//! Questions to the kernel over rtnetlink (RFC 3549): request out, all answers back, synchronous.
//!
//! Only the conversation; what is asked and what the answers mean is with those who ask.

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// The kernel's answers to a question about many things.
///
/// # Errors
/// What the kernel answered, or a reply that is none.
pub(crate) fn dump(question: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    converse(question, NLM_F_DUMP)
}

/// Has the kernel do something.
///
/// # Errors
/// The kernel's refusal.
#[cfg(feature = "ebpf")]
pub(crate) fn command(command: RouteNetlinkMessage) -> io::Result<()> {
    converse(command, netlink_packet_core::NLM_F_ACK).map(|_answers| ())
}

fn converse(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&datagram(message, flags), 0)?;

    let mut answers = Vec::new();
    loop {
        let (bytes, _sender) = socket.recv_from_full()?;
        if collect(&bytes, &mut answers)? {
            return Ok(answers);
        }
    }
}

fn datagram(message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
    let mut packet = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(message));
    packet.header.flags = NLM_F_REQUEST | flags;
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    bytes
}

/// Takes the messages out of one datagram; whether they were the last.
fn collect(mut bytes: &[u8], answers: &mut Vec<RouteNetlinkMessage>) -> io::Result<bool> {
    while !bytes.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        match message.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            // The end of a dump, or an acknowledgement: an error with the code 0.
            NetlinkPayload::Done(_) | NetlinkPayload::Error(_) => return Ok(true),
            NetlinkPayload::InnerMessage(answer) => answers.push(answer),
            _ => {}
        }
        // Messages are aligned to 4 octets (NLMSG_ALIGN).
        let length = (message.header.length as usize).next_multiple_of(4).max(4);
        bytes = bytes.get(length..).unwrap_or_default();
    }
    Ok(false)
}
