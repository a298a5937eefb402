//! The journal's native protocol: a datagram of fields for each entry
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>). An entry of ours is far shorter than a datagram may be.

use std::{
    io::{self, ErrorKind},
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixDatagram,
    },
};

const SOCKET: &str = "/run/systemd/journal/socket";

/// A connection to the journal.
#[derive(Debug)]
pub(super) struct Journal(UnixDatagram);

impl Journal {
    pub(super) fn connect() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(SOCKET)?;
        Ok(Self(socket))
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Sends an entry; 0 if the journal has no room for it now. Where it has restarted, connects again.
    pub(super) fn send(&mut self, entry: &[u8]) -> io::Result<usize> {
        let sent = self.0.send(entry).or_else(|error| match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotConnected | ErrorKind::ConnectionReset => {
                *self = Self::connect()?;
                self.0.send(entry)
            }
            _ => Err(error),
        });
        match sent {
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(0)
            }
            sent => sent,
        }
    }
}

/// Adds a field. A value with line feeds has its length before it.
pub(super) fn push_field(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_taken_for_another_field() {
        let mut entry = Vec::new();
        push_field(&mut entry, "A", "b=c");
        push_field(&mut entry, "B", "x\nC=y");
        assert_eq!(entry, b"A=b=c\nB\n\x05\0\0\0\0\0\0\0x\nC=y\n");
    }
}
