//! Read buffer: octets read and not yet consumed. It grows on demand, up to the longest packet block.

use std::io::{ErrorKind, Read};

use super::{error::CaptureError, pcapng::MAX_BLOCK};

/// Initial size.
const SMALL: usize = 1 << 12;
/// Size while reads fill it.
const LARGE: usize = 1 << 18;

pub(super) struct Buffer<R> {
    reader: R,
    /// Valid from `start` to `end`.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Octets to discard as soon as they are read.
    to_discard: u64,
    /// Offset of `start` in the stream.
    position: u64,
}

impl<R: Read> Buffer<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, bytes: vec![0; SMALL], start: 0, end: 0, to_discard: 0, position: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    #[cfg(test)]
    pub(super) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Offset of the bytes in the stream.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Whether all octets read were consumed.
    pub(super) const fn is_at_end(&self) -> bool {
        self.start == self.end && self.to_discard == 0
    }

    /// Reads until so many octets are buffered; `None` if the stream ends first.
    pub(super) fn need(&mut self, length: usize) -> Result<Option<&[u8]>, CaptureError> {
        while self.bytes().len() < length {
            if !self.fill()? {
                return Ok(None);
            }
        }
        Ok(Some(self.bytes()))
    }

    /// Consumes buffered octets.
    pub(super) fn take(&mut self, length: usize) -> &[u8] {
        let start = self.start;
        self.start += length;
        self.position += length as u64;
        &self.bytes[start..self.start]
    }

    /// Consumes octets, including those not read yet.
    pub(super) fn discard(&mut self, length: u32) {
        self.to_discard += u64::from(length);
        self.discard_buffered();
    }

    /// Grows to hold at least so many octets.
    pub(super) fn make_room(&mut self, length: usize) {
        debug_assert!(length <= MAX_BLOCK as usize, "a block that long was refused");
        if length > self.bytes.len() {
            self.bytes.resize(length.next_power_of_two(), 0);
        }
    }

    /// Reads once; `false` at the end of the stream.
    pub(super) fn fill(&mut self) -> Result<bool, CaptureError> {
        if self.end == self.bytes.len() {
            self.make_room(LARGE.min(2 * self.bytes.len()));
        }
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
        self.discard_buffered();
        Ok(read > 0)
    }

    fn discard_buffered(&mut self) {
        let there = self.bytes().len();
        let length =
            usize::try_from(self.to_discard).map_or(there, |to_discard| to_discard.min(there));
        self.take(length);
        self.to_discard -= length as u64;
    }
}
