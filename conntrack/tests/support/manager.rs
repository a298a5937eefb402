//! The service manager's end of `sd_notify(3)`.

use std::{io::ErrorKind, os::unix::net::UnixDatagram, time::Duration};

use super::PATIENCE;

/// Receives messages and keeps them.
pub struct Manager {
    socket: UnixDatagram,
    pub said: Vec<String>,
}

impl Manager {
    pub fn on(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { socket, said: Vec::new() }
    }

    /// Waits for a message that contains `text`.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        loop {
            let Some(message) = self.receive() else {
                panic!("it never said {text:?}, but {:?}", self.said)
            };
            if message.contains(text) {
                return message;
            }
        }
    }

    /// Messages so far that were not waited for.
    pub fn rest(&mut self) -> &[String] {
        self.socket.set_nonblocking(true).expect("a socket");
        while self.receive().is_some() {}
        self.socket.set_nonblocking(false).expect("a socket");
        &self.said
    }

    fn receive(&mut self) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = match self.socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("{error}"),
        };
        let message = str::from_utf8(&buffer[..length]).expect("UTF-8").to_owned();
        self.said.push(message.clone());
        Some(message)
    }
}
