//! A window on a stream of octets: what was read and not yet taken. It grows only as far as is asked
//! for, and never beyond the longest block that holds a packet.

use std::io::{ErrorKind, Read};

use super::{error::CaptureError, pcapng::MAX_BLOCK};

/// Octets that are read at once.
const SIZE: usize = 1 << 18;

pub(super) struct Buffer<R> {
    reader: R,
    /// Filled up to `end`.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Octets that are still to be thrown away, once they come.
    unwanted: u64,
    /// Octets before `start` in the stream.
    position: u64,
}

impl<R: Read> Buffer<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, bytes: vec![0; SIZE], start: 0, end: 0, unwanted: 0, position: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    #[cfg(test)]
    pub(super) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Where the bytes begin in the stream.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Whether everything was taken that was read.
    pub(super) const fn is_at_end(&self) -> bool {
        self.start == self.end && self.unwanted == 0
    }

    /// Waits for so many octets, and leaves them there; `None` if the stream ends before.
    pub(super) fn need(&mut self, length: usize) -> Result<Option<&[u8]>, CaptureError> {
        while self.bytes().len() < length {
            if !self.fill()? {
                return Ok(None);
            }
        }
        Ok(Some(self.bytes()))
    }

    /// Takes octets that are there.
    pub(super) fn take(&mut self, length: usize) -> &[u8] {
        let start = self.start;
        self.start += length;
        self.position += length as u64;
        &self.bytes[start..self.start]
    }

    /// Takes octets and throws them away, also those that are yet to come.
    pub(super) fn discard(&mut self, length: u32) {
        self.unwanted += u64::from(length);
        self.throw_away();
    }

    /// Has room for so many octets with the next [`Self::fill`].
    pub(super) fn make_room(&mut self, length: usize) {
        debug_assert!(length <= MAX_BLOCK as usize, "a block that long was refused");
        if length > self.bytes.len() {
            self.bytes.resize(length.next_power_of_two(), 0);
        }
    }

    /// Waits for more octets; whether there are any.
    pub(super) fn fill(&mut self) -> Result<bool, CaptureError> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let read = loop {
            match self.reader.read(&mut self.bytes[self.end..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.end += read;
        self.throw_away();
        Ok(read > 0)
    }

    fn throw_away(&mut self) {
        let there = self.bytes().len();
        let length = usize::try_from(self.unwanted).map_or(there, |unwanted| unwanted.min(there));
        self.take(length);
        self.unwanted -= length as u64;
    }
}
